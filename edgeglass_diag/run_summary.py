"""A run as plain values, for ``--json`` and for tables."""

from __future__ import annotations

from typing import Any

from edgeglass_diag.plain_values import finding_summary, plain
from edgeglass_diag.signals.losses import LOSS_TOTAL
from edgeglass_diag.store import Run


def run_summary(run: Run) -> dict[str, Any]:
    """Return how a run ended, its losses and findings, and the recalls and validation loss of a recipe's run."""
    header = run.header
    values = {
        "name": run.name,
        "out": str(run.folder),
        "status": run.status,
        "seconds": round(header["ended"] - header["created"], 2) if "ended" in header else None,
        "steps": run.record.taken,
        "last_step": run.last_step,
        **({"resumed_at": [cut.step for cut in run.cuts]} if run.cuts else {}),
        **(_of_program(run) if "program" in header else _of_recipe(run)),
        "findings": [finding_summary(finding) for finding in run.findings],
    }
    if error := run.failure or run.result.get("error"):
        values["error"] = error
    return plain(values)  # type: ignore[no-any-return]


def _of_recipe(run: Run) -> dict[str, Any]:
    return {key: run.result.get(key) for key in ("train_loss", "val_loss", "i2t", "t2i", "n", "n_texts", "chance")}


def _of_program(run: Run) -> dict[str, Any]:
    """Return the facts of a program's run; its training loss is the mean over the last ten recorded windows."""
    losses = [reading.values[0] for _, reading in run.readings(LOSS_TOTAL, site="")][-10:]
    return {
        "train_loss": sum(losses) / len(losses) if losses else None,
        "windows": run.windows,
        "exit_status": run.result.get("exit_status"),
        "ranks": list(run.ranks),
    }
