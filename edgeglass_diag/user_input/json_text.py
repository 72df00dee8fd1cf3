"""JSON of a user: keys that are there twice, numbers beyond the range of floats and deep nesting are said."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from edgeglass_diag.errors import UsageError
from edgeglass_diag.user_input.limits import DEPTH, SHOWN

_DIGITS = 308
"""Decimal digits of every integer that a float can hold."""


def parse_json(text: str, where: str | Path, *, line: int | None = None) -> Any:
    """Return the value of a JSON text; ``NaN`` and ``Infinity`` are numbers.

    Args:
        text: one document.
        where: file, for messages.
        line: of the file, where the document is one line of it.

    Raises:
        UsageError: for what is no JSON, a key that an object has twice, a number that no float can hold, or more than
            ``DEPTH`` levels.
    """
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        place = f"{where}:{error.lineno if line is None else line}"
        hint = "; one record on each line is JSONL: name it *.jsonl" if error.msg == "Extra data" and not line else ""
        raise NoJsonError(f"{place}: expected JSON, got {error.msg} (column {error.colno}){hint}") from None
    except RecursionError:
        raise _too_deep(where, line) from None
    except _UnusableError as error:
        raise UsageError(f"{_place(where, line)}: {error}") from None
    if text.count("[") + text.count("{") > DEPTH and depth(value) > DEPTH:
        raise _too_deep(where, line)
    return value


class NoJsonError(UsageError):
    """A text that is no JSON at all, perhaps because it was cut off."""


class _UnusableError(Exception):
    """A key or number that is not to be used, in words."""


def depth(value: object) -> int:
    """Return the number of mappings and lists within each other.

    >>> depth(1), depth([]), depth({"a": [1, [2]]})
    (0, 1, 3)
    """
    found = 0
    level = [value] if isinstance(value, dict | list) else []
    while level:
        found += 1
        inner: list[Any] = [item for one in level for item in (one.values() if isinstance(one, dict) else one)]
        level = [item for item in inner if isinstance(item, dict | list)]
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in made if keys.count(key) > 1)
        raise _UnusableError(f"expected each key once in an object, got {twice[:SHOWN]!r} {keys.count(twice)} times")
    return made


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _UnusableError(f"expected numbers within the range of floats (1.8e308), got {text[:SHOWN]}")
    return value


def _integer(text: str) -> int:
    if len(text) > _DIGITS:
        raise _UnusableError(f"expected numbers within the range of floats (1.8e308), got {len(text)} digits")
    return int(text)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_int=_integer)


def _place(where: str | Path, line: int | None) -> str:
    return f"{where}" if line is None else f"{where}:{line}"


def _too_deep(where: str | Path, line: int | None) -> UsageError:
    return UsageError(f"{_place(where, line)}: expected at most {DEPTH} mappings and lists within each other, got more")
