"""From what was read to what is understood: roles, steps, units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from edgeglass_diag.auditing.clock import times
from edgeglass_diag.auditing.columns import Ambiguous, Role, recognise
from edgeglass_diag.auditing.logged import Case, Logged, Series, Table, rounding
from edgeglass_diag.auditing.plausible import fault_of, usable_settings


@dataclass(frozen=True)
class Understood:
    """A case, and what is to be said about its columns: open ones with the reason, the unit of the recalls."""

    case: Case
    open_columns: Mapping[str, str]
    recall_unit: str


def understand(logged: Logged, told: Mapping[str, Role | None]) -> Understood:
    """Return the columns with their roles, by their names or as given on the command line.

    A column without a role is left out; one whose name fits several, or whose numbers no such column can have, is
    listed among the open columns, with the reason, and so is such a setting.
    """
    series: list[Series] = []
    undecided: dict[str, str] = {}
    for table in logged.tables:
        roles: dict[str, Role] = {}
        for name in table.columns:
            role = told[name] if name in told else recognise(name)
            if isinstance(role, Ambiguous):
                undecided[_label(table, name)] = f"{role.readings}; tell with --column ROLE={name}"
            elif role is not None:
                fault = fault_of(role, (v for v in table.columns[name] if v is not None))
                if fault:
                    undecided[_label(table, name)] = fault
                else:
                    roles[name] = role
        series += _table_series(table, roles)
    unit = _unit(series)
    if unit is not None and unit.percent:
        series = [_as_fraction(s) if s.role.kind == "recall" else s for s in series]
    if any(1.5 < v <= 100 for s in series if s.role.kind == "accuracy" for v in s.values):
        series = [_as_fraction(s) if s.role.kind == "accuracy" else s for s in series]
    words = "" if unit is None else f"{'percent' if unit.percent else 'fraction'}: {unit.reason}"
    settings, left_out = usable_settings(logged.settings)
    undecided |= {f"setting {key}": reason for key, reason in left_out.items()}
    return Understood(Case(logged.name, logged.source, tuple(series), settings), undecided, words)


def _label(table: Table, name: str) -> str:
    return f"{table.name}/{name}" if table.name else name


def _table_series(table: Table, roles: Mapping[str, Role]) -> list[Series]:
    clocks = {kind: next((table.columns[n] for n, role in roles.items() if role.kind == kind), ()) for kind in _CLOCKS}
    together = {
        kind: rounding([v for n, r in roles.items() if r.kind == kind for v in table.columns[n] if v is not None])
        for kind in ("loss", "recall")
    }
    rows = table.positions or times(clocks["step"], clocks["epoch"], table.length)
    found = []
    for name, role in roles.items():
        column = without_gaps(table.columns[name])
        values = tuple(v for v in column if v is not None)
        if not values or (role.kind == "time" and any(not a < b for a, b in pairwise(values))):
            continue
        steps = tuple(row for row, v in zip(rows, column, strict=False) if v is not None)
        tolerance = together[role.kind] if role.kind in together else rounding(values)
        found.append(Series(_label(table, name), role, table, steps, values, tolerance))
    return found


_CLOCKS = ("step", "epoch")


def without_gaps(column: Sequence[float | None]) -> Sequence[float | None]:
    """Return a column in which NaN that stands for an absent value is one: numbers in every n-th row, NaN between.

    Example:
        >>> without_gaps([math.nan, 2.0, math.nan, 1.0, math.nan])
        [None, 2.0, None, 1.0, None]
    """
    held = [i for i, v in enumerate(column) if v is not None and math.isfinite(v)]
    rows = sum(v is not None for v in column)
    gaps = [b - a for a, b in pairwise(held)]
    if not gaps or len(held) == rows or min(gaps) < 2 or max(gaps) > min(gaps) + 1:
        return column
    if held[0] > max(gaps) or len(column) - 1 - held[-1] > max(gaps):
        return column
    return [None if v is not None and math.isnan(v) else v for v in column]


@dataclass(frozen=True)
class _Unit:
    """Whether recalls are percent or fractions, and why."""

    percent: bool
    reason: str


def _unit(series: Sequence[Series]) -> _Unit | None:
    """Return the unit of the recalls, None where there are none; all of a history's are of one."""
    recalls = [s for s in series if s.role.kind == "recall"]
    if not recalls:
        return None
    named = next((s.label for s in recalls if s.role.percent), None)
    if named is not None:
        return _Unit(True, f"{named} says so")
    above = next((s for s in recalls if any(1 < v <= 100 for v in s.values)), None)
    if above is not None:
        return _Unit(True, f"{above.label} has values above 1")
    n = next((s.last for s in series if s.role.kind == "n" and s.last >= 2), None)
    exact = {s.role.k for s in recalls if n and abs(s.last * n / 100 - s.role.k) <= 1e-3 * s.role.k}
    if n and len(exact) >= 2:
        return _Unit(True, f"as percent they are exactly K / {n:.0f}")
    return _Unit(False, "no value is above 1")


def _as_fraction(series: Series) -> Series:
    return replace(series, values=tuple(v / 100 for v in series.values), tolerance=series.tolerance / 100)
