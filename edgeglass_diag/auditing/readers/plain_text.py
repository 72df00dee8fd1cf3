"""Plain text logs: what scripts print, loggers write and progress bars leave."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from edgeglass_diag.auditing.logged import Logged
from edgeglass_diag.auditing.readers.text_line import LONGEST, Line, parse_line
from edgeglass_diag.auditing.readers.tree import table_of
from edgeglass_diag.records import UsageError
from edgeglass_diag.user_input.files import open_text
from edgeglass_diag.user_input.limits import SHOWN, TABLE_BYTES

_HINT = re.compile(r"\d.*|nan", re.IGNORECASE)
_READ = 1 << 16


def read_plain_text(path: Path) -> list[Logged]:
    """The numbers of a text log, a row for each line that has a loss, recall, accuracy or rate.

    A line ends at a line feed or a carriage return, so that each state of a progress bar is one. Epoch and step of
    earlier lines hold for those that name none.

    Raises:
        UsageError: for a text without any such line, or a number that no float can hold.
    """
    rows: list[dict[str, float]] = []
    count = 0
    epoch = step = None
    with open_text(path, most=TABLE_BYTES) as file:
        for text in _lines(file):
            count += 1
            if _HINT.search(text) is None:
                continue
            line = _parsed(text, path, count)
            if line.epoch is not None:
                step = None if line.epoch != epoch else step
                epoch = line.epoch
            step = step if line.step is None else line.step
            row = _row(line, epoch, step)
            if line.judged and (not rows or row != rows[-1]):
                rows.append(row)
    if not rows:
        raise UsageError(
            f"{path}: expected lines with a loss, accuracy, recall or learning rate as key: value or key=value, got "
            f"none in {count} lines"
        )
    return [Logged(path.stem, str(path), (table_of("", rows),))]


def _parsed(text: str, path: Path, count: int) -> Line:
    try:
        return parse_line(text)
    except OverflowError as error:
        words = f"numbers within the range of floats (1.8e308), got {str(error)[:SHOWN]}"
        raise UsageError(f"{path}:{count}: expected {words}") from None


def _row(line: Line, epoch: float | None, step: float | None) -> dict[str, float]:
    clocks = {"epoch": epoch, "step": step, "timestamp": line.time}
    return {**line.numbers, **{name: value for name, value in clocks.items() if value is not None}}


def _lines(file: TextIO) -> Iterator[str]:
    """Yield the lines of a text; of one that is longer than is looked at, the beginning."""
    left = ""
    while block := file.read(_READ):
        *whole, left = re.split(r"[\r\n]+", left + block)
        yield from whole
        left = left[:LONGEST]
    if left:
        yield left
