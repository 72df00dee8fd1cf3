"""Our own run folders: ``history.jsonl`` where the loop wrote one, and what the store has of metrics and rates."""

from __future__ import annotations

from pathlib import Path

from edgeglass_diag.auditing.logged import Logged, Table
from edgeglass_diag.auditing.readers.text import read_jsonl
from edgeglass_diag.auditing.readers.tree import flat, table_of
from edgeglass_diag.signals import METRIC
from edgeglass_diag.signals.embeddings import EMBEDDING_SCALE
from edgeglass_diag.signals.parameters import OPTIMIZER_LR
from edgeglass_diag.user_input.files import is_file


def read_run(folder: Path) -> Logged:
    """The run's history, its recorded learning rates and logit scales, and its settings."""
    from edgeglass_diag.store import load

    tables: list[Table] = []
    notes: tuple[str, ...] = ()
    with load(folder) as run:
        if is_file(folder / "history.jsonl"):
            written = read_jsonl(folder / "history.jsonl")[0]
            tables += written.tables
            notes = written.notes
        else:
            rows: dict[int, dict[str, float]] = {}
            for metric in (signal for signal in run.signals if signal.family == METRIC):
                for _, reading in run.readings(metric):
                    rows.setdefault(reading.step, {"step": float(reading.step)})[metric.quantity] = reading.values[0]
            tables.append(table_of("", [rows[step] for step in sorted(rows)]))
        for signal, column in ((OPTIMIZER_LR, "lr"), (EMBEDDING_SCALE, "logit_scale")):
            sites: dict[str, list[dict[str, float]]] = {}
            for _, reading in run.readings(signal):
                row = {"step": float(reading.step), column: reading.values[0]}
                sites.setdefault(reading.site, []).append(row)
            tables += [table_of(f"{signal}/{site}", found) for site, found in sites.items()]
        settings = flat(run.header.get("settings") or {})
        return Logged(run.name, str(folder), tuple(tables), settings, notes)
