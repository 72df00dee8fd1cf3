"""Train the jobs of a recipe one after the other, each watched into a run folder of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Protocol

from edgeglass_diag.alerts.address import without_secret
from edgeglass_diag.folders import check_folder, fixed
from edgeglass_diag.own_rank import known_rank, known_world_size, speaks
from edgeglass_diag.profiling.options import FOLDER, ProfileOptions
from edgeglass_diag.profiling.steps import StepProfiler
from edgeglass_diag.programs.options import WatchOptions
from edgeglass_diag.programs.stop_together import stopping_together
from edgeglass_diag.provider_protocols import Job
from edgeglass_diag.rank_store import open_rank_store
from edgeglass_diag.records import Finding, UsageError, Window
from edgeglass_diag.rules.choice import choose_rules, header_of
from edgeglass_diag.schedule import Schedule
from edgeglass_diag.sinks import Feeds, live_targets
from edgeglass_diag.store import Run, RunWriter, load, next_step
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


def check_folders(jobs: Sequence[Job], out: Path, *, resume: bool = False) -> list[Path]:
    """Return the run folder of each job: ``out`` itself for one, its children for several.

    Raises:
        UsageError: if one of them exists and is not empty, unless it is a run that goes on, or cannot be made.
    """
    names = [job.name for job in jobs]
    unique = [name if names.count(name) == 1 else f"{name}-{index + 1}" for index, name in enumerate(names)]
    folders = [out] if len(jobs) == 1 else [out / name for name in unique]
    for folder in folders:
        check_folder(folder, resume=resume)
    return folders


def run_jobs(jobs: Sequence[Job], out: Path, options: WatchOptions, listener: Listener) -> list[Run]:
    """Train the jobs one after the other under observation.

    A job that trains in several processes is watched in each, into ``rank-N`` inside of its folder above rank 0.
    Processes above rank 0 tell the listener nothing and end here with status 0: rank 0 speaks for all.

    Raises:
        UsageError: if weights, data or devices of a job are missing, or a folder cannot be used.
        InterruptedRunError: after Ctrl-C, once the record is closed.
    """
    runs = []
    for job, folder in zip(jobs, check_folders(jobs, out, resume=options.resume), strict=True):
        if speaks():
            listener.preparing(job)
        with _started(job, folder) as (place, total_steps):
            try:
                _train(job, place, total_steps, options, listener if speaks() else None)
            except StopTraining:
                pass
            except KeyboardInterrupt as error:
                if speaks():
                    listener.ends(load(folder))
                raise InterruptedRunError(str(folder)) from error
        if speaks():
            runs.append(load(folder))
            listener.ends(runs[-1])
    if not speaks():
        raise SystemExit(0)
    return runs


@contextmanager
def _started(job: Job, folder: Path) -> Iterator[tuple[Path, int]]:
    """Prepare a job, then start the processes that train it; give rank 0's folder and the number of steps."""
    with ExitStack() as stack:
        try:
            total_steps = job.prepare()
            place = stack.enter_context(job.together(folder))
        except ValueError as error:
            raise UsageError(str(error)) from error
        yield place, total_steps


def _train(job: Job, folder: Path, total_steps: int, options: WatchOptions, listener: Listener | None) -> None:
    """Train a job under observation; without a listener as a rank above 0, which records and is silent."""
    rank, world = known_rank() or 0, known_world_size() or 1
    alone = world == 1
    first = listener is not None
    header = {
        "settings": {**job.settings, "total_steps": total_steps},
        **({} if alone else {"rank": rank, "world_size": world}),
    }
    about = {**Schedule.of(options.every).facts, "command": without_secret(sys.argv, options.notify), **header}
    resume = next_step(fixed(folder)) if options.resume else None
    about |= header_of(choose_rules(options.rules))
    on_window: Callable[[Window, list[Finding]], None] | None = listener.window if listener is not None else None
    with Watch(
        folder,
        name=job.name,
        every=options.every,
        samples=options.samples,
        rules=options.rules,
        header=header,
        stop_on=options.stop_on,
        should_raise=alone,
        notify=options.notify if first else None,
        on_window=on_window,
        feeds=Feeds(live_targets(options.report_to, "--report-to") if first else ()),
        store=None if first else partial(_rank_store, folder, rank, about, resume),
        resume=resume,
    ) as watch:
        if listener is not None:
            listener.begins(job, folder, total_steps)
        stop = nullcontext() if alone or not options.stop_on else stopping_together(watch)
        with _profiled(options.profile, folder, watch, rank), stop:
            watch.result |= job.train(folder, watch.log)


def _rank_store(
    out: Path, rank: int, header: Mapping[str, object], resume: int | None, stepped: bool
) -> RunWriter | None:
    return open_rank_store(out, rank, header, resume=resume) if stepped else None


def _profiled(options: ProfileOptions | None, folder: Path, watch: Watch, rank: int) -> AbstractContextManager[object]:
    if options is None:
        return nullcontext()
    return StepProfiler(options, folder / FOLDER, lambda: watch.step, lambda: f"rank-{rank}")
