"""Charts that W&B's pages export as CSV: ``Step``, and for each run ``RUN - METRIC`` with its ``__MIN``, ``__MAX``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from edgeglass_diag.auditing.logged import Logged, Table
from edgeglass_diag.auditing.readers.tree import table_of

Column = tuple[float | None, ...]
_BOUNDS = ("__MIN", "__MAX")
_TIMES = {"Relative Time (Process)": "relative_time", "Relative Time (Wall)": "relative_time", "Wall Time": "timestamp"}


def charts(columns: Mapping[str, Column], path: Path) -> list[Logged]:
    """Return a history for each run of an exported chart; nothing for any other table."""
    clocks = {_TIMES.get(name, name): column for name, column in columns.items() if " - " not in name}
    if not any(name.endswith(_BOUNDS) for name in columns) or len(clocks) != 1:
        return []
    runs: dict[str, dict[str, Column]] = {}
    for name, column in columns.items():
        if " - " in name and not name.endswith(_BOUNDS):
            run, metric = name.rsplit(" - ", 1)
            runs.setdefault(run, {})[metric] = column
    return [
        Logged(run, str(path), (Table("", {**clocks, **found}),), is_chart=True)
        for run, found in runs.items()
        if set(found) - {"_step"}
    ]


def joined(logs: list[Logged]) -> list[Logged]:
    """Return histories in which the charts of one run are one table: each is exported as a file of its own."""
    parts: dict[str, list[Logged]] = {}
    for log in logs:
        if log.is_chart:
            parts.setdefault(log.name, []).append(log)
    runs = [replace(found[0], tables=(_table(found),)) for found in parts.values()]
    return [*(log for log in logs if not log.is_chart), *runs]


def _table(logs: list[Logged]) -> Table:
    """Return a row for each value of the clock that the charts of a run have."""
    rows: dict[float | None, dict[str, float | None]] = {}
    for log in logs:
        (table,) = log.tables
        clock = next(iter(table.columns.values()))
        for index, time in enumerate(clock):
            row = rows.setdefault(time, {})
            row |= {name: column[index] for name, column in table.columns.items() if column[index] is not None}
    return table_of("", [rows[time] for time in sorted(rows, key=lambda time: -math.inf if time is None else time)])
