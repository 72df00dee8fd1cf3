"""From what was read to what is understood: roles, steps, units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgeglass_diag.auditing.columns import Role, recognise
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
            if isinstance(role, str):
                undecided[_label(table, name)] = f"{role}; tell with --column ROLE={name}"
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
    words = "" if unit is None else f"{'percent' if unit.percent else 'fraction'}: {unit.reason}"
    settings, left_out = usable_settings(logged.settings)
    undecided |= {f"setting {key}": reason for key, reason in left_out.items()}
    return Understood(Case(logged.name, logged.source, tuple(series), settings), undecided, words)


def _label(table: Table, name: str) -> str:
    return f"{table.name}/{name}" if table.name else name


def _table_series(table: Table, roles: Mapping[str, Role]) -> list[Series]:
    clock = next((n for kind in ("step", "epoch") for n, role in roles.items() if role.kind == kind), None)
    together = {
        kind: rounding([v for n, r in roles.items() if r.kind == kind for v in table.columns[n] if v is not None])
        for kind in ("loss", "recall")
    }
    times = table.positions or _times(() if clock is None else table.columns[clock], table.length)
    found = []
    for name, role in roles.items():
        column = table.columns[name]
        values = tuple(v for v in column if v is not None)
        if not values:
            continue
        steps = tuple(time for time, v in zip(times, column, strict=False) if v is not None)
        tolerance = together[role.kind] if role.kind in together else rounding(values)
        found.append(Series(_label(table, name), role, table, steps, values, tolerance))
    return found


def _times(clock: Sequence[float | None], length: int) -> tuple[int, ...]:
    """Return the step or epoch of each row, its number where it has none."""
    known = [*clock, *[None] * (length - len(clock))]
    return tuple(row if v is None or not math.isfinite(v) else int(v) for row, v in enumerate(known))


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
