"""The terminal while jobs run: progress, loss against chance, and findings as they are made."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edgeglass_diag.commands.render.findings import finding_line
from edgeglass_diag.provider_protocols import Job
from edgeglass_diag.records import Finding, Window
from edgeglass_diag.signals.losses import LOSS_CHANCE, LOSS_TOTAL
from edgeglass_diag.store import Run


class LiveView:
    """Draw a progress line and print findings above it, as a listener of ``run_jobs``.

    Args:
        console: where it is drawn; without a terminal only findings and the ends of runs are printed.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=None, loss="")

    def __enter__(self) -> LiveView:
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)

    def preparing(self, job: Job) -> None:
        """Print which job is prepared, and leave the terminal to the progress of its features."""
        self._progress.stop()
        if self._console.is_terminal:
            self._console.print(f"{job.name}: preparing frozen features", highlight=False)

    def begins(self, job: Job, folder: Path, total_steps: int) -> None:
        """Start the bar of a job."""
        self._console.print(f"{job.name}: {total_steps} steps, recorded in {folder}", highlight=False)
        self._progress.reset(self._task, total=total_steps, description=job.name, loss="")
        self._progress.start()

    def window(self, window: Window, findings: list[Finding]) -> None:
        """Advance the bar and print what was found."""
        values = {r.signal: r.values[0] for r in window.readings if not r.site}
        if LOSS_TOTAL in values:
            chance = f" (chance {values[LOSS_CHANCE]:.3f})" if LOSS_CHANCE in values else ""
            self._progress.update(self._task, loss=f"loss {values[LOSS_TOTAL]:.3f}{chance}")
            self._progress.update(self._task, completed=window.step + 1)
        for finding in findings:
            self._progress.console.print(finding_line(finding), highlight=False)

    def ends(self, run: Run) -> None:
        """Print how the run ended."""
        self._progress.stop()
        result = run.result
        self._console.print(f"{run.name}: {run.status} after {run.record.taken} steps", highlight=False)
        if "i2t" in result:
            recalls = ", ".join(f"{way} R@1 {result[way]['R@1']:.3f}" for way in ("i2t", "t2i"))
            losses = f"train loss {result['train_loss']:.3f}, val loss {result['val_loss']:.3f}"
            chance = result["chance"]["R@1"]
            text = f"  {losses}, {recalls} on {result['n']} unseen pairs (chance {chance:.3f})"
            self._console.print(text, highlight=False)


class Silent:
    """A listener that prints nothing, for ``--json``."""

    def preparing(self, job: Job) -> None:
        """Print nothing."""

    def begins(self, job: Job, folder: Path, total_steps: int) -> None:
        """Print nothing."""

    def window(self, window: Window, findings: list[Finding]) -> None:
        """Print nothing."""

    def ends(self, run: Run) -> None:
        """Print nothing."""
