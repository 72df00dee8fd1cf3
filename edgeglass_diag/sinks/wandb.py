"""Weights & Biases: scalars and histograms by step, findings as alerts."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgeglass_diag.records import Finding, Reading, RunStatus, Severity
from edgeglass_diag.sinks.sink import PROJECT, About, Sink, counted, histograms, scalars, text_of, title_of

STEP = "step"
"""What W&B draws all else over; its own counter of steps refuses a step that is below an earlier one."""

_LEVELS = {Severity.INFO: "INFO", Severity.WARNING: "WARN", Severity.CRITICAL: "ERROR"}


class Into(Sink):
    """Writes a run of its own, beside any that the program itself has.

    Project, folder, mode and server are those of W&B's environment variables. Where it knows no key, it is offline.

    Args:
        about: the run.
        out: folder of an offline run; None for W&B's own way.
    """

    def __init__(self, about: About, out: Path | None) -> None:
        import wandb

        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=about.name,
            id=uuid.uuid4().hex,  # of its own: WANDB_RUN_ID is that of the program's run
            resume="never",
            dir=out or os.environ.get("WANDB_DIR") or about.folder,
            mode="offline" if out is not None else _mode(),
            config={"edgeglass_diag": str(about.folder)},
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True, x_disable_machine_info=True),
        )
        self._run.define_metric(STEP, hidden=True)
        self._run.define_metric("*", step_metric=STEP)
        self.place = self._run.url or str(Path(self._run.dir).parent)

    def readings(self, step: int, readings: Iterable[Reading]) -> None:
        """Log all of a window as one row."""
        import wandb

        taken = list(readings)
        row: dict[str, Any] = {STEP: step, **dict(scalars(taken))}
        for name, values in histograms(taken).items():
            row[name] = wandb.Histogram(np_histogram=counted(values))
        self._run.log(row)

    def finding(self, finding: Finding) -> None:
        """Send an alert."""
        level = _LEVELS[finding.severity]
        self._run.alert(title_of(finding), f"step {finding.step}: {text_of(finding)}", level=level)

    def close(self, status: RunStatus) -> None:
        """Finish the run."""
        self._run.finish(exit_code=1 if status is RunStatus.FAILED else 0)


def _mode() -> Any:
    """Return None for W&B's own way; offline where it knows no key, as it would ask for one on the terminal."""
    import wandb

    return None if os.environ.get("WANDB_MODE") or wandb.api.api_key else "offline"
