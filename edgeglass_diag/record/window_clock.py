"""The clock of the windows: which step it is, whether it is recorded, and whether anything can be observed now."""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter
from collections.abc import Callable

import torch
from torch import nn
from torch.optim import Optimizer

from edgeglass_diag.record.rounds import Round
from edgeglass_diag.record.training_thread import PATIENCE, TrainingThread
from edgeglass_diag.record.trainings import Trainings

MAX_FORWARDS = 256
"""Outermost forward passes of one window that are recorded; a loop that never steps would fill the memory."""

_LONG_AGO = 2**31
_FAKE = torch._C._TorchDispatchModeKey.FAKE
_HAS_CUDA: bool = torch.backends.cuda.is_built()  # type: ignore[no-untyped-call]


class WindowClock:
    """The window that has begun.

    Windows end with the steps of the primary optimizer, the one that steps first, or with those of the optimizers that
    step together with it; steps of others fall into them.

    Args:
        schedule: step -> whether its window is recorded.
        first: number of the first window, which is not 0 where an earlier process has trained before.

    Attributes:
        step: number of the window, from ``first``.
        opened: number of the last window that is recorded although the schedule says nothing of it.
        forwards: outermost forward passes of it.
        is_too_deep: whether more modules ran inside each other than are followed.
        resting: a model whose call, which runs, is not looked into.
        is_mistaken: whether passes of its training were taken for an evaluation.
        has_run_compiled: whether compiled code that is no module's own has run: which modules it calls is not known.
        thread: the thread that is watched.
        round: the optimizers that step together.
    """

    def __init__(self, schedule: Callable[[int], bool], first: int = 0) -> None:
        self._schedule = schedule
        self.first = self.step = first
        self.opened = -_LONG_AGO
        self.forwards = 0
        self.is_too_deep = self.is_mistaken = self.has_run_compiled = False
        self.resting: nn.Module | None = None
        self.thread = TrainingThread()
        self.round = Round()
        self._process = os.getpid()
        self._primary_optimizer: weakref.ref[Optimizer] | None = None
        self._followed: weakref.ref[Optimizer] | None = None
        self._steps_since_followed = 0
        self._steps: Counter[int] = Counter()
        self._trainings = Trainings()
        self._steps_since_primary: Counter[int] = Counter()

    @property
    def is_recorded(self) -> bool:
        """Whether the window is recorded."""
        return self._schedule(self.step) or self.opened == self.step

    @property
    def is_whole(self) -> bool:
        """Whether the window has so few forward passes, of so few levels, that all of it is recorded."""
        return self.forwards <= MAX_FORWARDS and not self.is_too_deep and not self.is_mistaken

    @property
    def is_forked(self) -> bool:
        """Whether this is a forked copy of the process that is watched."""
        return os.getpid() != self._process

    @property
    def is_elsewhere(self) -> bool:
        """Whether this is a forked copy of the process, or another thread than the one that is watched."""
        return os.getpid() != self._process or self.thread.is_another

    @property
    def cannot_observe_now(self) -> bool:
        """Whether nothing can be observed.

        So it is under a transform, while a CUDA graph is captured, in a forked worker that inherited the hooks, in
        another thread than the one that trains, and inside a backward pass, where checkpointed modules run a second
        time.
        """
        # Asked first: torch.compile follows these lines no further.
        return torch.compiler.is_compiling() or self.is_out_of_sight

    @property
    def is_out_of_sight(self) -> bool:
        """Whether nothing can be observed where torch.compile does not trace; ask that first."""
        watched, functions = self.thread.identity, torch._C
        return (  # written out, as this is asked for each function of torch
            functions._get_tracing_state() is not None
            or functions._functorch.peek_interpreter_stack() is not None
            or functions._get_dispatch_mode(_FAKE) is not None
            or os.getpid() != self._process
            or (watched is not None and watched != threading.get_ident())
            or functions._current_graph_task_id() != -1
            or (_HAS_CUDA and is_capturing())
        )

    def steps_of(self, optimizer: Optimizer) -> int:
        """Return the number of steps that an optimizer has taken."""
        return self._steps[id(optimizer)]

    def begun(self, optimizer: Optimizer) -> int:
        """Return the step at which the training of an optimizer that steps now began.

        It is 0 of the one that steps first, which goes on with what an earlier process has begun.
        """
        return self._trainings.begun(optimizer, 0 if self.step == self.first else self.step)

    def stepped(self, optimizer: Optimizer) -> None:
        """Count a step."""
        self.begun(optimizer)
        self._steps[id(optimizer)] += 1

    def follow(self, optimizer: Optimizer) -> None:
        """Let this optimizer be the primary one from its first step on, until ``PATIENCE`` steps of others go by."""
        self._followed = weakref.ref(optimizer)

    def ends_with(self, optimizer: Optimizer) -> bool:
        """Return whether the step of this optimizer ends the window."""
        passes = self.forwards if self.is_recorded else None
        return self.round.ends_with(optimizer, leads=self._leads(optimizer), passes=passes)

    def advance(self) -> None:
        """Begin the next window."""
        self.step += 1 + self.round.closed_late
        self.round.closed_late = 0

    def _leads(self, optimizer: Optimizer) -> bool:
        """Return whether this is the primary optimizer; another becomes it when that is gone or steps no more."""
        followed = None if self._followed is None else self._followed()
        if followed is not None and self._steps[id(followed)]:
            self._steps_since_followed = 0 if optimizer is followed else self._steps_since_followed + 1
            if self._steps_since_followed <= PATIENCE:
                return optimizer is followed
        primary = None if self._primary_optimizer is None else self._primary_optimizer()
        self._steps_since_primary[id(optimizer)] += 1
        if primary is None or optimizer is primary or self._steps_since_primary[id(optimizer)] > 1:
            self._primary_optimizer = weakref.ref(optimizer)
            self._steps_since_primary.clear()
            return True
        return False


def is_capturing() -> bool:
    """Return whether what is launched becomes part of a CUDA graph: it does not run now, and runs at each replay."""
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()  # type: ignore[no-untyped-call]
