"""Record a torch.profiler trace of some optimizer steps of the training in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch.autograd import profiler as torch_profiler
from torch.profiler import ProfilerAction, ProfilerActivity, profile, schedule, tensorboard_trace_handler

from edgeglass_diag.process import StopTraining
from edgeglass_diag.profiling.options import ProfileOptions


class StepProfiler:
    """Profiles between ``__enter__`` and ``__exit__``; writes the trace after its last step, or at the end.

    A step ends with the profiler range that torch records around ``Optimizer.step`` and its hooks: the ranges of the
    trace stay nested.

    Args:
        options: which steps are traced.
        folder: folder of the trace file ``WORKER.TIME.pt.trace.json``, named as torch-tb-profiler expects.
        step: returns the number of optimizer steps so far.
        worker: returns the name of this process; called when the trace is written.
    """

    def __init__(
        self, options: ProfileOptions, folder: Path, step: Callable[[], int], worker: Callable[[], str]
    ) -> None:
        self._options, self._folder, self._step, self._worker = options, folder, step, worker
        self._seen = 0
        self._marker: Any = None
        self._profile: profile | None = None
        self._written = False
        self._problem: Exception | None = None

    def __enter__(self) -> StepProfiler:
        options = self._options
        activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(ProfilerActivity.CUDA)
        self._profile = profile(
            activities=activities,
            schedule=schedule(wait=options.skip - 1, warmup=1, active=options.steps, repeat=1),
            on_trace_ready=self._write,
            record_shapes=True,
        )
        self._seen = self._step()
        self._profile.start()
        self._marker = torch_profiler.record_function
        torch_profiler.record_function = self._marker_class()  # type: ignore[misc]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        taken, self._profile = self._profile, None
        if self._marker is not None:
            torch_profiler.record_function = self._marker  # type: ignore[misc]
        if self._problem is not None:
            raise self._problem
        if taken is not None and not self._written:
            if taken.current_action not in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE):
                taken.on_trace_ready = None  # still warming up: there is no traced step
            taken.stop()

    def abandon(self) -> None:
        """Stop profiling without a trace, in a forked copy of the process."""
        self._profile = None
        torch_profiler.record_function = self._marker  # type: ignore[misc]

    def _marker_class(self) -> Any:
        """Return a record_function that also calls ``after_step`` when a range of ``Optimizer.step`` ends."""
        profiler, original = self, self._marker

        class Marker(original):  # type: ignore[misc, valid-type]
            def __exit__(self, kind: Any, error: Any, trace: Any) -> Any:
                result = super().__exit__(kind, error, trace)
                if error is None and self.name.startswith("Optimizer.step#"):
                    profiler.after_step()
                return result

        return Marker

    def after_step(self) -> None:
        """End the profiler's step if the number of optimizer steps has grown; several optimizers may share a step.

        Where it fails, as where no trace can be written, the training goes on and ``__exit__`` raises the error.
        """
        try:
            self._advance()
        except Exception as problem:
            self._problem, self._profile = problem, None

    def _advance(self) -> None:
        now, taken = self._step(), self._profile
        if now == self._seen or taken is None or self._written:
            return
        self._seen = now
        taken.step()
        self._stop_where_done()

    def _stop_where_done(self) -> None:
        if self._written and self._options.stop:
            raise StopTraining(f"stopped after {self._options.steps} profiled steps (--stop)")

    def _write(self, taken: profile) -> None:
        self._written = True
        tensorboard_trace_handler(str(self._folder), worker_name=self._worker())(taken)
