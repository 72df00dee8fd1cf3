"""Answers of a known size: whatever is shown to an agent or in few lines is cut here, and says by how much."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
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
    for limits in _LADDER[:-1]:
        try:
            cut = plain(_Cutter(limits, most).cut(value))
        except _TooLongError:
            continue
        if wire_size(json.dumps(cut, ensure_ascii=False)) <= most:
            return cut
    return plain(_Cutter(_LADDER[-1], most).cut(value))


def bounded_text(text: str, most: int = ANSWER_BYTES) -> str:
    """Return a text that has at most ``most`` bytes as it travels; its end is cut, and says how much is missing.

    >>> bounded_text("one line"), bounded_text("ab" * 600, 1000)[-28:]
    ('one line', 'abab\\n... 252 characters more')
    """
    if len(text) <= most and wire_size(text) <= most:
        return text
    low, high = 0, min(len(text), most)  # no character takes less than a byte
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


class _TooLongError(Exception):
    """Raised as soon as a cut value has more characters than there is room for, whatever else it holds."""


@dataclass
class _Cutter:
    limits: _Limits
    room: int

    def cut(self, value: Any, level: int = 0) -> Any:
        """Return the value within the limits; the whole of it is never looked at where it is too long."""
        if isinstance(value, str):
            return self._short(value)
        if isinstance(value, dict):
            kept = list(islice(value.items(), self.limits.entries)) if level < self.limits.depth else []
            made = {self._short(str(key)): self.cut(item, level + 1) for key, item in kept}
            missing = len(value) - len(kept)
            return made | ({"...": f"{missing} more"} if missing else {})
        if isinstance(value, (list, tuple)):
            return self._cut_list(value, level)
        if value is None or isinstance(value, bool | int | float):
            self._take(1)
            return value
        return self._short(str(value))

    def _cut_list(self, value: Sequence[Any], level: int) -> list[Any]:
        kept = value[: self.limits.entries] if level < self.limits.depth else ()
        missing = len(value) - len(kept)
        self._take(2)
        return [self.cut(item, level + 1) for item in kept] + ([f"... {missing} more"] if missing else [])

    def _short(self, text: str) -> str:
        characters = self.limits.characters
        missing = len(text) - characters
        self._take(min(len(text), characters) + 2)
        return text if missing <= 0 else f"{text[:characters]}... {missing} more"

    def _take(self, characters: int) -> None:
        self.room -= characters
        if self.room < 0:
            raise _TooLongError
