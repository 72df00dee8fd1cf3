"""One line of a text log: key: value, key=value and key value pairs behind prefixes of loggers, bars and colours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from edgeglass_diag.auditing.columns import SPLITS, Role, recognise
from edgeglass_diag.auditing.readers.points import number_of

LONGEST = 10_000
"""Characters of a line that are looked at."""
_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_TIME = re.compile(
    r"(?P<date>\d{4}[-/]\d\d[-/]\d\d|\d\d/\d\d/\d{4})[ T,_]{1,2}(?P<clock>\d\d:\d\d:\d\d)(?P<part>[.,]\d{1,9})?"
)
_LEVEL = re.compile(r"\b(?:DEBUG|INFO|WARNING|WARN|ERROR|SUCCESS|CRITICAL)\b(?::[\w.]+:)?")
_PLACE = re.compile(r"(?<![\w.])[\w.<>]+:[\w<>]+:\d+\b")
"""Module, function and line, as loguru writes them."""
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_WORD = r"[A-Za-z_][\w@./%#\-]{0,60}(?:\([a-zA-Z%]{1,4}\))?"
_PAIR = re.compile(
    rf"(?<![\w.])(?P<key>{_WORD}(?:\ {{1,2}}(?:{_WORD}|\([a-zA-Z%]{{1,4}}\))){{0,3}})['\"]?\s{{0,20}}"
    rf"(?P<mark>[:=]\s{{0,20}}|\s)['\"]?(?P<value>{_NUMBER}|[-+]?(?:nan|inf|infinity))(?![\w.]*[A-Za-z_]\w*\s*[:=])"
    rf"(?P<unit>\s?/\s?\d+|\s?%|\s?ms\b|\s?s\b)?",
    re.IGNORECASE,
)
_EPOCH = re.compile(r"\bepochs?\b['\"]?\s{0,9}[:=#]?\s{0,9}[\[(]?\s{0,9}(\d{1,9}(?:\.\d{1,12})?)", re.IGNORECASE)
_PHASE = re.compile(r"^\s*(?:train|test|eval|val|validation|validate)\w*:\s{0,9}(\d{1,9})\s{0,9}\[", re.IGNORECASE)
_BAR = re.compile(r"(?:\||\[)\s{0,12}(\d{1,12})\s?/\s?(\d{1,12})\b")
_RATE = re.compile(
    r"(?<![\w.])(\d+\.?\d*)\s?(?:(?:its?|imgs?|images|samples|tokens|toks?|examples|steps|batch(?:es)?)\s?)?/s(?:ec)?\b(?:/gpu)?"
)
_PACE = re.compile(r"(?<![\w.])(\d+\.?\d*)\s?(ms|s)/(?:it|iter|step|batch)\b")
_JUDGED = ("loss", "recall", "accuracy", "lr", "grad_norm", "scale", "temperature")
_OF_A_SPLIT = ("loss", "recall", "accuracy")


@dataclass(frozen=True)
class Line:
    """What a line says: numbers by their keys, the time in seconds, epoch and step where it names them."""

    numbers: dict[str, float] = field(default_factory=dict)
    judged: bool = False
    time: float | None = None
    epoch: float | None = None
    step: float | None = None


def parse_line(text: str) -> Line:
    """Return what one line of a log says.

    A line is judged where one of its keys is a loss, recall, accuracy, rate, norm or scale. A word for a split in front
    of a key (``Validation: loss 0.4``, ``Val Loss: 0.4, Acc: 0.7``) is that of the keys behind it.

    Raises:
        OverflowError: for a number that no float can hold.

    Example:
        >>> parse_line("Epoch 3/10 | train loss: 0.52 | val loss: 0.61").numbers
        {'train loss': 0.52, 'val loss': 0.61}
    """
    line = _ANSI.sub("", text[:LONGEST])
    time, line = _timed(line)
    line = _PLACE.sub(" ", _LEVEL.sub(" ", line))
    speed = _speed(line)
    line = _PACE.sub(" ", _RATE.sub(" ", line))
    numbers: dict[str, float] = {}
    judged = False
    step: float | None = None
    split = ""
    at = 0
    for found in _PAIR.finditer(line):
        key = found["key"].strip()
        split = _split_in(line[at : found.start("value")]) or split
        at = found.end()
        role = recognise(key)
        kind = role.kind if isinstance(role, Role) else ""
        value = _value(found, kind)
        if kind == "step":
            step = value
            continue
        if kind == "epoch":
            continue
        judged |= kind in _JUDGED
        for name in _names(key, role, split, found["unit"] or ""):
            if name not in numbers:
                numbers[name] = value
                break
    numbers |= speed
    bar = None if split in ("val", "test") else _BAR.search(line)
    if step is None and bar is not None:
        step = float(bar[1])
    return Line(numbers, judged, time, _epoch(line), step)


def _timed(line: str) -> tuple[float | None, str]:
    """Return the time of a line in seconds, and the line without it."""
    found = _TIME.search(line[:80])
    if found is None:
        return None, line
    rest = line[: found.start()] + " " + line[found.end() :]
    date = found["date"].replace("/", "-")
    form = "%m-%d-%Y %H:%M:%S" if date[2] == "-" else "%Y-%m-%d %H:%M:%S"
    try:
        seconds = (datetime.strptime(f"{date} {found['clock']}", form) - datetime(1970, 1, 1)).total_seconds()
    except ValueError:  # a date that is none
        return None, rest
    return seconds + float((found["part"] or ".0").replace(",", ".")), rest


def _value(found: re.Match[str], kind: str) -> float:
    """Return the number; the share of 9830/10000 for an accuracy, seconds where it is milliseconds."""
    value = number_of(found["value"])
    unit = (found["unit"] or "").strip()
    if unit.startswith("/") and kind == "accuracy":
        whole = float(unit[1:])
        return value / whole if whole else value
    return value / 1000 if unit == "ms" else value


def _names(key: str, role: object, split: str, unit: str) -> Iterator[str]:
    """Yield the name of a column, and the key itself for where that is taken."""
    percent = " %" if unit.strip() == "%" and "%" not in key else ""
    if isinstance(role, Role) and role.kind == "time" and unit.strip() in ("ms", "s"):
        yield "step_time"
        return
    if isinstance(role, Role) and role.kind in _OF_A_SPLIT and not role.split and split:
        yield f"{split}/{key}{percent}"
    yield f"{key}{percent}"


def _split_in(text: str) -> str:
    """Return the last split that a text names by a word of its own."""
    words = re.findall(r"(?<![\w/.@-])[A-Za-z]+(?![\w/@-])", text)
    return next((SPLITS[word] for word in map(str.lower, reversed(words)) if word in SPLITS), "")


def _epoch(line: str) -> float | None:
    found = _EPOCH.search(line) or _PHASE.search(line)
    return None if found is None else float(found[1])


def _speed(line: str) -> dict[str, float]:
    rate, pace = _RATE.search(line), _PACE.search(line)
    if rate is not None:
        return {"it/s": float(rate[1])}
    if pace is not None:
        return {"step_time": float(pace[1]) / (1000 if pace[2] == "ms" else 1)}
    return {}
