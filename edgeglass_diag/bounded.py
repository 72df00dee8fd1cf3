"""Answers of a known size: whatever is shown to an agent or in few lines is cut here, and says by how much."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from edgeglass_diag.plain_values import plain

ANSWER_BYTES = 18_000
"""Most bytes of an answer as it travels, with room for its envelope below 20 kB."""

LINES, COLUMNS = 60, 300
"""Most lines of an answer in words, and most characters of each."""


@dataclass(frozen=True, slots=True)
class _Limits:
    """Most entries of a list or mapping, most characters of a text, most levels."""

    entries: int
    characters: int
    depth: int


_LADDER = (
    *(_Limits(entries, characters, 12) for entries, characters in ((2000, 8000), (500, 2000), (200, 1000), (100, 600))),
    *(_Limits(entries, 400, 8) for entries in (60, 40, 25, 15, 10, 6)),
    *(_Limits(entries, 200, 6) for entries in (5, 4, 3)),
    _Limits(2, 100, 4),
    _Limits(1, 60, 3),
)
"""Tried in turn. The last fits into any answer: three keys and a text of 60 characters, each with a remark."""


def wire_size(value: object) -> int:
    """Return the bytes of a value as JSON in UTF-8; of a text with its quotes and escapes.

    >>> wire_size("a"), wire_size('"'), wire_size({"a": 1})
    (3, 4, 8)
    """
    return len(json.dumps(value, ensure_ascii=False).encode(errors="replace"))


def bounded(value: Any, most: int = ANSWER_BYTES) -> Any:
    """Return a value as plain values whose JSON, itself sent as a text, has at most ``most`` bytes.

    Long lists, mappings and texts and what lies deep are cut, all to the same length, and say how much is missing.

    Args:
        value: plain values, in which NaN and infinities are allowed.
        most: at least 3000.

    Example:
        >>> bounded({"a": [1, float("nan")]})
        {'a': [1, 'nan']}
        >>> bounded([10_000 + number for number in range(9000)], 3000)[-1]
        '... 8800 more'
    """
    for limits in _LADDER:
        cut = plain(_cut(value, limits, 0))
        if wire_size(json.dumps(cut, ensure_ascii=False)) <= most:
            break
    return cut


def bounded_text(text: str, most: int = ANSWER_BYTES) -> str:
    """Return a text that has at most ``most`` bytes as it travels; its end is cut, and says how much is missing.

    >>> bounded_text("one line"), bounded_text("ab" * 600, 1000)[-28:]
    ('one line', 'ab\\n... 252 characters more')
    """
    if wire_size(text) <= most:
        return text
    low, high = 0, len(text)
    while low < high:  # the longest beginning that leaves room for the remark
        middle = (low + high + 1) // 2
        low, high = (middle, high) if wire_size(text[:middle]) <= most - 50 else (low, middle - 1)
    return f"{text[:low]}\n... {len(text) - low} characters more"


def bounded_lines(lines: Iterable[str], most: int = LINES, columns: int = COLUMNS) -> list[str]:
    """Return at most ``most`` lines of at most ``columns`` characters; the last one says how many are missing.

    >>> bounded_lines(["a", "b", "c"], 2), bounded_lines(["abcdefgh"], columns=5)
    (['a', '... 2 lines more'], ['ab...'])
    """
    kept = [line if len(line) <= columns else f"{line[: columns - 3]}..." for text in lines for line in _split(text)]
    return kept if len(kept) <= most else [*kept[: most - 1], f"... {len(kept) - most + 1} lines more"]


def _split(text: str) -> list[str]:
    return text.splitlines() or [""]


def _cut(value: Any, limits: _Limits, level: int) -> Any:
    if isinstance(value, str):
        return _short(value, limits.characters)
    if isinstance(value, dict):
        kept = list(value.items())[: limits.entries] if level < limits.depth else []
        made = {_short(str(key), limits.characters): _cut(item, limits, level + 1) for key, item in kept}
        missing = len(value) - len(kept)
        return made | ({"...": f"{missing} more"} if missing else {})
    if isinstance(value, (list, tuple)):
        return _cut_list(value, limits, level)
    if value is None or isinstance(value, bool | int | float):
        return value
    return _short(str(value), limits.characters)


def _cut_list(value: Sequence[Any], limits: _Limits, level: int) -> list[Any]:
    kept = value[: limits.entries] if level < limits.depth else ()
    missing = len(value) - len(kept)
    return [_cut(item, limits, level + 1) for item in kept] + ([f"... {missing} more"] if missing else [])


def _short(text: str, characters: int) -> str:
    missing = len(text) - characters
    return text if missing <= 0 else f"{text[:characters]}... {missing} more"
