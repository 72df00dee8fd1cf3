"""Charts that W&B's pages export as CSV: ``Step``, and for each run ``RUN - METRIC`` with its ``__MIN``, ``__MAX``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from edgeglass_diag.auditing.logged import Logged, Table

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
    """Return histories in which the charts of one run are one: each is exported as a file of its own."""
    found: dict[str, Logged] = {}
    others: list[Logged] = []
    for log in logs:
        if not log.is_chart:
            others.append(log)
        elif log.name in found:
            found[log.name] = replace(found[log.name], tables=(*found[log.name].tables, *log.tables))
        else:
            found[log.name] = log
    return [*others, *found.values()]
