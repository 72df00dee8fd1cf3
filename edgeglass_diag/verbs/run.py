"""The verb ``run``: jobs one after the other, each watched into a run folder of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgeglass_diag.records import Finding, UsageError, Window
from edgeglass_diag.rules import Rule
from edgeglass_diag.store import Run, load
from edgeglass_diag.targets import Job
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


@dataclass(frozen=True)
class Options:
    """What the user chose for all jobs."""

    every: int
    rules: Sequence[Rule]
    stop_on: tuple[str, ...] = ()


class InterruptedRunError(Exception):
    """The user ended the jobs with Ctrl-C; what was recorded is whole."""


def default_folder(target: str, root: Path) -> Path:
    """A new folder below ``root``, named after the target and the time."""
    stem = f"{Path(target).stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = [stem, *(f"{stem}-{count}" for count in range(2, 100))]
    return next(folder for name in names if not (folder := root / name).exists())


def check_folders(jobs: Sequence[Job], out: Path) -> list[Path]:
    """The run folder of each job: ``out`` itself for one, its children for several.

    Raises:
        UsageError: when one of them exists and is not empty, or cannot be made.
    """
    names = [job.name for job in jobs]
    unique = [name if names.count(name) == 1 else f"{name}-{index + 1}" for index, name in enumerate(names)]
    folders = [out] if len(jobs) == 1 else [out / name for name in unique]
    for folder in folders:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} exists and is not empty: a run needs a new folder, and nothing is overwritten")
        standing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        if not standing.is_dir() or not os.access(standing, os.W_OK):
            raise UsageError(f"cannot write a run to {folder}: {standing} is not a folder that can be written")
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
        watch.result |= job.train(folder, watch.log)
