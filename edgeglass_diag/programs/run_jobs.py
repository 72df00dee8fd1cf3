"""Train the jobs of a recipe one after the other, each watched into a run folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from edgeglass_diag.folders import check_folder
from edgeglass_diag.profiling.options import FOLDER, ProfileOptions
from edgeglass_diag.profiling.steps import StepProfiler
from edgeglass_diag.programs.options import WatchOptions
from edgeglass_diag.provider_protocols import Job
from edgeglass_diag.records import Finding, UsageError, Window
from edgeglass_diag.sinks import Feeds, live_targets
from edgeglass_diag.store import Run, load
from edgeglass_diag.watching import StopTraining, Watch


class Listener(Protocol):
    """Callbacks while jobs run; ``window`` is called in the writing thread."""

    def preparing(self, job: Job) -> None:
        """Called before data and weights of a job are prepared."""

    def begins(self, job: Job, folder: Path, total_steps: int) -> None:
        """Called when a job begins to train."""

    def window(self, window: Window, findings: list[Finding]) -> None:
        """Called with each recorded window and its new or worse findings."""

    def ends(self, run: Run) -> None:
        """Called when a job has ended."""


class InterruptedRunError(Exception):
    """Raised when the user ends the jobs with Ctrl-C; the records are complete."""


def check_folders(jobs: Sequence[Job], out: Path) -> list[Path]:
    """Return the run folder of each job: ``out`` itself for one, its children for several.

    Raises:
        UsageError: if one of them exists and is not empty, or cannot be made.
    """
    names = [job.name for job in jobs]
    unique = [name if names.count(name) == 1 else f"{name}-{index + 1}" for index, name in enumerate(names)]
    folders = [out] if len(jobs) == 1 else [out / name for name in unique]
    for folder in folders:
        check_folder(folder)
    return folders


def run_jobs(jobs: Sequence[Job], out: Path, options: WatchOptions, listener: Listener) -> list[Run]:
    """Train the jobs one after the other under observation.

    Raises:
        UsageError: if weights or data of a job are missing, or a folder cannot be used.
        InterruptedRunError: after Ctrl-C, once the record is closed.
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


def _train(job: Job, folder: Path, total_steps: int, options: WatchOptions, listener: Listener) -> None:
    header = {"settings": {**job.settings, "total_steps": total_steps}}
    on_window: Callable[[Window, list[Finding]], None] = listener.window
    with Watch(
        folder,
        name=job.name,
        every=options.every,
        samples=options.samples,
        rules=options.rules,
        header=header,
        stop_on=options.stop_on,
        notify=options.notify,
        on_window=on_window,
        feeds=Feeds(live_targets(options.report_to, "--report-to")),
    ) as watch:
        listener.begins(job, folder, total_steps)
        with _profiled(options.profile, folder, watch):
            watch.result |= job.train(folder, watch.log)


def _profiled(options: ProfileOptions | None, folder: Path, watch: Watch) -> AbstractContextManager[object]:
    if options is None:
        return nullcontext()
    return StepProfiler(options, folder / FOLDER, lambda: watch.step, lambda: "rank-0")
