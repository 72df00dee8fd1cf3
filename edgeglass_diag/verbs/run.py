"""The verb ``run``: jobs one after the other, each watched into a run folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from edgeglass_diag.profiling.options import FOLDER, ProfileOptions
from edgeglass_diag.profiling.steps import StepProfiler
from edgeglass_diag.provider_protocols import Job
from edgeglass_diag.records import Finding, UsageError, Window
from edgeglass_diag.store import Run, load
from edgeglass_diag.verbs.options import Options, check_folder
from edgeglass_diag.watching import StopTraining, Watch


class Listener(Protocol):
    """Told what happens while jobs run; ``window`` comes from another thread."""

    def preparing(self, job: Job) -> None:
        """Data and weights of a job are being made ready."""

    def begins(self, job: Job, folder: Path, total_steps: int) -> None:
        """A job begins to train."""

    def window(self, window: Window, findings: list[Finding]) -> None:
        """A window was recorded; the findings are new or worse."""

    def ends(self, run: Run) -> None:
        """A job has ended."""


class InterruptedRunError(Exception):
    """The user ended the jobs with Ctrl-C; what was recorded is whole."""


def check_folders(jobs: Sequence[Job], out: Path) -> list[Path]:
    """The run folder of each job: ``out`` itself for one, its children for several.

    Raises:
        UsageError: when one of them exists and is not empty, or cannot be made.
    """
    names = [job.name for job in jobs]
    unique = [name if names.count(name) == 1 else f"{name}-{index + 1}" for index, name in enumerate(names)]
    folders = [out] if len(jobs) == 1 else [out / name for name in unique]
    for folder in folders:
        check_folder(folder)
    return folders


def run_jobs(jobs: Sequence[Job], out: Path, options: Options, listener: Listener) -> list[Run]:
    """Train the jobs one after the other under observation.

    Raises:
        UsageError: for what a job lacks (weights, data) and for folders that cannot be used.
        InterruptedRunError: after Ctrl-C, when the record is closed.
    """
    runs = []
    for job, folder in zip(jobs, check_folders(jobs, out), strict=True):
        listener.preparing(job)
        try:
            total_steps = job.prepare()
        except ValueError as error:
            raise UsageError(str(error)) from error
        try:
            _train(job, folder, total_steps, options, listener)
        except StopTraining:
            pass
        except KeyboardInterrupt as error:
            listener.ends(load(folder))
            raise InterruptedRunError(str(folder)) from error
        runs.append(load(folder))
        listener.ends(runs[-1])
    return runs


def _train(job: Job, folder: Path, total_steps: int, options: Options, listener: Listener) -> None:
    header = {"settings": {**job.settings, "total_steps": total_steps}}
    on_window: Callable[[Window, list[Finding]], None] = listener.window
    with Watch(
        folder,
        name=job.name,
        every=options.every,
        rules=options.rules,
        header=header,
        stop_on=options.stop_on,
        on_window=on_window,
    ) as watch:
        listener.begins(job, folder, total_steps)
        with _profiled(options.profile, folder, watch):
            watch.result |= job.train(folder, watch.log)


def _profiled(options: ProfileOptions | None, folder: Path, watch: Watch) -> AbstractContextManager[object]:
    if options is None:
        return nullcontext()
    return StepProfiler(options, folder / FOLDER, lambda: watch.step, lambda: "rank-0")
