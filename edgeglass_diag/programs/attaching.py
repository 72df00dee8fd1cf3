"""Watch one process of a program, from the import of torch to the end of the process or of its ``main``."""

from __future__ import annotations

import atexit
import importlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing import util
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from torch.optim.optimizer import register_optimizer_step_post_hook

from edgeglass_diag.folders import rank_folders
from edgeglass_diag.own_rank import known_rank, known_world_size, speaks
from edgeglass_diag.process import StopTraining, harmless, say
from edgeglass_diag.profiling.options import FOLDER
from edgeglass_diag.profiling.steps import StepProfiler
from edgeglass_diag.programs.announce import Announcer
from edgeglass_diag.programs.launch import hide_our_frames
from edgeglass_diag.programs.options import ProcessOptions
from edgeglass_diag.programs.rank_store import open_store
from edgeglass_diag.records import Finding
from edgeglass_diag.sinks import Feeds, live_targets
from edgeglass_diag.store import RunWriter
from edgeglass_diag.watching import Watch

_LOADER = "torch.utils.data._utils.worker"


class Attachment:
    """Watch this process, and each copy forked from it once it takes an optimizer step.

    Args:
        options: of the run.
        writer: the store of the main process, which exists from the start; None in a child.
    """

    def __init__(self, options: ProcessOptions, writer: RunWriter | None = None) -> None:
        self._options, self._writer = options, writer
        self._left: list[Watch] = []  # of the process that this one was forked from; it must not be finalised here
        self._exit: tuple[SystemExit, int] | None = None
        self._findings: list[Finding] = []
        self._profiler: StepProfiler | None = None
        self._facts = _extended(options)
        self._watch: Watch | None = self._begin()
        os.register_at_fork(after_in_child=self._after_fork)

    @classmethod
    def of_child(cls, options: ProcessOptions) -> Attachment:
        """Watch this process, which another program started, up to its end."""
        attached = cls(options)
        attached._await_end()
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            _before_run(attached._leave_loader)
        return attached

    @property
    def findings(self) -> list[Finding]:
        """Return what the watch of this process has found, also where the record cannot be read."""
        return self._findings if self._watch is None else self._watch.findings

    @property
    def training_thread(self) -> threading.Thread | None:
        """Return the thread that is watched, None where none is known or it has ended."""
        return None if self._watch is None else self._watch.training_thread

    @harmless
    def close(self, error: BaseException | None, result: Mapping[str, object]) -> None:
        """End the record; do nothing if it has ended."""
        watch, self._watch = self._watch, None
        self._close_profile(error)
        if watch is not None:
            watch.result |= {**self._facts(), **result}
            watch.__exit__(None if error is None else type(error), error, None)
            self._findings = watch.findings

    def _begin(self) -> Watch:
        options = self._options
        self._announcer = Announcer(sys.stderr)
        self._feeds = Feeds(live_targets(options.report_to, "--report-to"))
        watch = Watch(
            options.out,
            every=options.every,
            samples=options.samples,
            rules=options.configured_rules(),
            stop_on=options.stop_on,
            stop_after=options.steps,
            resume=options.resume,
            notify=options.notify,
            on_window=self._announcer.window,
            feeds=self._feeds,
            store=self._open,
        )
        watch.__enter__()
        if options.profile is not None:
            folder = Path(options.out) / FOLDER
            self._profiler = StepProfiler(options.profile, folder, lambda: watch.step, _worker)
            self._profiler.__enter__()
        return watch

    @harmless
    def _close_profile(self, error: BaseException | None) -> None:
        profiler, self._profiler = self._profiler, None
        if profiler is None:
            return
        profiler.__exit__(None if error is None else type(error), error, None)

    def _open(self, stepped: bool) -> RunWriter | None:
        """Open the store for the first window; return None in a child that took no optimizer step."""
        rank = known_rank()
        if multiprocessing.parent_process() is not None:
            # Processes of multiprocessing may end without atexit, and forget at their start what was asked for before.
            util.Finalize(None, self._end, exitpriority=0)
        self._announcer.silent = not (self._options.announce and speaks())
        self._feeds.silent = not speaks()
        if self._writer is None:
            return open_store(self._options, rank) if stepped else None
        if stepped:
            self._note_rank(self._writer, rank or 0)
        return self._writer

    @staticmethod
    @harmless
    def _note_rank(writer: RunWriter, number: int) -> None:
        taken = number in rank_folders(writer.folder)
        writer.note({"rank": os.getpid() if taken else number, "world_size": known_world_size()})

    @harmless
    def _after_fork(self) -> None:
        """Leave the parent's record alone in a forked copy, and begin one of its own after its first step.

        Most copies load data and never step; recording from the start would cost them time for nothing.
        """
        if self._watch is None:
            return
        self._left.append(self._watch)
        self._watch.abandon()
        if self._profiler is not None:
            self._profiler.abandon()
            self._profiler = None
        self._watch, self._writer = None, None
        handle = register_optimizer_step_post_hook(lambda *_: self._first_step(handle))

    @harmless
    def _first_step(self, handle: Any) -> None:
        handle.remove()
        self._watch = self._begin()
        self._await_end()

    @harmless
    def _leave_loader(self, process: BaseProcess) -> None:
        """Stop recording in a spawned loader, which never steps and would record its first window for ever."""
        if getattr(getattr(process, "_target", None), "__module__", None) == _LOADER:
            self.close(None, {})

    def _await_end(self) -> None:
        """End the record when the process ends."""
        atexit.register(self._end)
        leave = sys.exit

        def noting_exit(status: Any = None, /) -> NoReturn:
            if threading.current_thread() is threading.main_thread() and self._watch is not None:
                self._exit = SystemExit(status), self._watch.step
            leave(status)

        sys.exit = noting_exit
        show = sys.excepthook

        def showing(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            if isinstance(error, StopTraining):
                say(str(error))
                return
            hide_our_frames(error)
            show(kind, error, error.__traceback__)

        sys.excepthook = showing

    @harmless
    def _end(self) -> None:
        # Under multiprocessing the error is on its way; that of a script is kept by the interpreter; the status
        # given to sys.exit is nowhere to be read.
        said: SystemExit | None = None
        if self._exit is not None and self._watch is not None and self._watch.step == self._exit[1]:
            said = self._exit[0]  # a program that trains on has caught it
        self.close(sys.exc_info()[1] or getattr(sys, "last_value", None) or said, {})


def _extended(options: ProcessOptions) -> Callable[[], Mapping[str, object]]:
    """Attach the extension of a run; return what gives its entries of the result."""
    if options.extension is None:
        return dict
    attach: Callable[[str], Callable[[], Mapping[str, object]]]
    attach = importlib.import_module(options.extension.module).attach
    return attach(options.extension.text)


def _worker() -> str:
    rank = known_rank()
    return f"process-{os.getpid()}" if rank is None else f"rank-{rank}"


def _before_run(tell: Callable[[BaseProcess], None]) -> None:
    """Call ``tell`` with a spawned process before it runs its function, which is not known during its imports."""
    bootstrap = BaseProcess._bootstrap  # type: ignore[attr-defined]

    def telling(process: BaseProcess, *arguments: Any, **keywords: Any) -> Any:
        tell(process)
        return bootstrap(process, *arguments, **keywords)

    BaseProcess._bootstrap = telling  # type: ignore[attr-defined]
