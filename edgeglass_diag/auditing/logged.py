"""What a log holds: histories of tables of columns, and how exactly a logged number is known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from edgeglass_diag.auditing.columns import Role

FLOAT32 = 2.0**-21
"""Relative error of a loss computed in float32: eight roundings of 2^-24 (logsumexp, subtraction, means)."""


@dataclass(frozen=True)
class Table:
    """Columns of equal length; an absent value is None, NaN is data.

    ``partial`` marks single points taken out of a longer series, whose ``positions`` in it are known;
    ``at_end`` those from the end of the run.
    """

    name: str
    columns: Mapping[str, tuple[float | None, ...]]
    positions: tuple[int, ...] = ()
    partial: bool = False
    at_end: bool = False

    @property
    def length(self) -> int:
        """Number of rows."""
        return max((len(values) for values in self.columns.values()), default=0)


@dataclass(frozen=True)
class Logged:
    """One history as it was read: a run's tables and its settings (flattened with ``/``).

    ``is_chart`` marks one that may be a part only of what the run logged.
    """

    name: str
    source: str
    tables: tuple[Table, ...]
    settings: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    is_chart: bool = False


@dataclass(frozen=True)
class Series:
    """The values of one column that is understood.

    ``tolerance`` is half a unit of the last decimal that the losses (or recalls) of its table are logged with: what
    the logged digits leave open.
    """

    label: str
    role: Role
    table: Table
    steps: tuple[int, ...]
    values: tuple[float, ...]
    tolerance: float

    @property
    def last(self) -> float:
        """The newest value."""
        return self.values[-1]

    @property
    def last_step(self) -> int:
        """The step, epoch or row of the newest value."""
        return self.steps[-1]

    @cached_property
    def finite(self) -> tuple[tuple[int, float], ...]:
        """Return the steps and values of the rows that are neither NaN nor infinite."""
        return tuple((s, v) for s, v in zip(self.steps, self.values, strict=True) if math.isfinite(v))

    def open_by(self, value: float) -> float:
        """How far the true value may be from a logged one: the digits, and float32 arithmetic."""
        return self.tolerance + FLOAT32 * abs(value)


@dataclass(frozen=True)
class Case:
    """One history with its columns understood, and what else is known of it."""

    name: str
    source: str
    series: tuple[Series, ...]
    settings: Mapping[str, object]

    def of(self, kind: str, **wanted: object) -> Iterator[Series]:
        """Series of one kind whose roles have the wanted attributes."""
        for series in self.series:
            if series.role.kind == kind and all(getattr(series.role, key) == value for key, value in wanted.items()):
                yield series

    def tables(self) -> Iterator[tuple[Table, list[Series]]]:
        """The tables with their series."""
        for table in {id(series.table): series.table for series in self.series}.values():
            yield table, [series for series in self.series if series.table is table]


_SAMPLE = 1000
_EXACT_POWER = 22
"""Up to here a power of ten is a float."""


def decimals(value: float) -> int:
    """Decimals of the shortest text that gives the number: those it was logged with, trailing zeros left out.

    Example:
        >>> decimals(1.12), decimals(0.0), decimals(3.5e-10), decimals(7.0)
        (2, 1, 11, 1)
    """
    if not math.isfinite(value):
        return 0
    digits, _, exponent = repr(float(value)).partition("e")
    behind = len(digits) - digits.find(".") - 1 if "." in digits else 0
    return max(0, behind - int(exponent or 0))


def rounding(values: Sequence[float]) -> float:
    """Half a unit of the last decimal of the value that has most of them: one table is rounded alike."""
    most = max(map(decimals, values[:: max(1, len(values) // _SAMPLE)]), default=0)
    if len(values) > _SAMPLE and most <= _EXACT_POWER:
        # A value that is a whole number divided by 10^most is written with at most as many decimals.
        array = np.array(values)
        with np.errstate(all="ignore"):
            values = array[np.round(array, most) != array].tolist()
    return 0.5 * 10.0 ** -max([most, *map(decimals, values)])


def setting(settings: Mapping[str, object], *names: str) -> float | None:
    """The first setting whose last word is one of the names and whose value is a number above 0."""
    for name in names:
        for key, value in settings.items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if number and key.lower().rsplit("/", 1)[-1] == name and float(value) > 0:  # type: ignore[arg-type]
                return float(value)  # type: ignore[arg-type]
    return None
