"""Single logged values with their steps, as rows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from edgeglass_diag.auditing.logged import Table
from edgeglass_diag.auditing.readers.tree import table_of


class Point(NamedTuple):
    """A value of a metric; ``time`` in seconds, as it was logged."""

    key: str
    step: int
    value: float
    time: float


def table_of_points(points: Iterable[Point]) -> Table:
    """Return a row for each step, in the order of steps.

    Where a metric has several values at a step, as after a resume or where no step was given, each is a row of its own,
    and all rows are in the order of time.
    """
    times: dict[tuple[str, int], int] = {}
    rows: dict[tuple[int, int], dict[str, float]] = {}
    for point in points:
        turn = times.get((point.key, point.step), 0)
        times[point.key, point.step] = turn + 1
        row = rows.setdefault((turn, point.step), {"step": float(point.step), "timestamp": point.time})
        row[point.key] = point.value
    if all(turn == 0 for turn, _ in rows):
        return table_of("", [rows[place] for place in sorted(rows)])
    return table_of("", [row for _, row in sorted(rows.items(), key=lambda item: (item[1]["timestamp"], item[0]))])


def number_of(text: str) -> float:
    """Return the number that a word is.

    Raises:
        ValueError: for any other word.
        OverflowError: for a number that no float can hold.
    """
    if "_" in text:  # which Python reads as a separator of thousands
        raise ValueError(text)
    value = float(text)
    if math.isinf(value) and "n" not in text.lower():
        raise OverflowError(text)
    return value


def setting_of(text: str) -> object:
    """Return a setting that was written as text: a number or truth value where it is one.

    Example:
        >>> setting_of("64"), setting_of("1e-3"), setting_of("True"), setting_of("adamw")
        (64, 0.001, True, 'adamw')
    """
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text) if len(text) < 64 and "_" not in text else text
        except ValueError:
            continue
    return text
