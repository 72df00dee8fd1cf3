"""The life of the windows: attaches the taps where the schedule says so, hands each window on at its end."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from edgeglass_diag.record.attention import AttentionTap
from edgeglass_diag.record.buffer import PendingWindow
from edgeglass_diag.record.functions import FunctionTap
from edgeglass_diag.record.losses import LossTap
from edgeglass_diag.record.modules import ModuleTap
from edgeglass_diag.record.parameters import ParameterTap
from edgeglass_diag.record.provenance import Provenance
from edgeglass_diag.record.session import Session
from edgeglass_diag.records import ParameterOrigin


class Recorder:
    """Observes whatever trains in this process between ``__enter__`` and ``__exit__``.

    ::

        with Recorder(schedule, sink):          # window 0 begins: taps attached, provenance on
            build the model                     #   each write to a parameter is noted
            for batch in data:
                forward, backward, clip         #   taps measure, if this window is recorded
                optimizer.step()                #   gradients before, updates after; window goes to the sink
                                                # the next window begins: taps attached or not

    Steps are those of the optimizer that steps first; others fall into its windows. No random number is drawn
    and nothing that training computes is changed.

    Args:
        schedule: step -> whether its window is recorded.
        sink: takes each recorded window, in the training thread.
    """

    def __init__(self, schedule: Callable[[int], bool], sink: Callable[[PendingWindow], None]) -> None:
        self._schedule, self._sink = schedule, sink
        self._session = Session()
        self._attention = AttentionTap(self._session)
        self._losses = LossTap(self._session)
        self._parameters = ParameterTap(self._session)
        self._provenance: Provenance | None = Provenance(lambda: not self._session.stack)
        self._taps = ExitStack()
        self._hooks = ExitStack()
        self._lead: weakref.ref[Optimizer] | None = None
        self._others: Counter[int] = Counter()
        self.step = 0

    def name_model(self, model: nn.Module) -> None:
        """Name a model's modules before it runs."""
        self._session.naming.adopt(model)

    def __enter__(self) -> Recorder:
        for register, hook in (
            (register_optimizer_step_pre_hook, self._before_step),
            (register_optimizer_step_post_hook, self._after_step),
        ):
            self._hooks.callback(register(hook).remove)
        self._attach()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._detach()
        self._hooks.close()
        if self.step == 0 and len(self._session.buffer):
            self._flush()

    def _attach(self) -> None:
        observers = dict(self._losses.observers)
        for function, observer in self._attention.observers.items():
            observers[function] = _both(observers[function], observer) if function in observers else observer
        # Clipping runs without gradients, as evaluation does, and must be seen nevertheless.
        always = dict(self._parameters.observers)
        if self._provenance is not None:
            always |= self._provenance.observers
        self._taps.enter_context(ModuleTap(self._session))
        self._taps.enter_context(FunctionTap(self._session, observers, always))

    def _detach(self) -> None:
        self._taps.close()

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._schedule(self.step):
            self._detach()
            with self._session.measuring("optimizer", "optimizer"):
                self._parameters.before_step(optimizer)

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        recorded = self._schedule(self.step)
        if recorded:
            with self._session.measuring("optimizer", "optimizer"):
                self._parameters.after_step(optimizer)
        if self._leads(optimizer):
            if recorded:
                self._flush()
            self._provenance = None
            self.step += 1
        if self._schedule(self.step):
            self._attach()

    def _leads(self, optimizer: Optimizer) -> bool:
        """Whether this optimizer's step ends the window; the lead passes on when it is gone or steps no more."""
        lead = None if self._lead is None else self._lead()
        self._others[id(optimizer)] += 1
        if lead is None or optimizer is lead or self._others[id(optimizer)] > 1:
            self._lead = weakref.ref(optimizer)
            self._others.clear()
            return True
        return False

    def _flush(self) -> None:
        origins: tuple[ParameterOrigin, ...] = ()
        window: PendingWindow | None = None
        with self._session.measuring("provenance", "recorder"):
            origins = self._provenance.origins(self._session.naming) if self._provenance is not None else ()
        with self._session.measuring("attention", "recorder"):
            self._attention.end_window()  # what it says about coverage belongs to this window
        with self._session.measuring("window", "recorder"):
            window = self._session.buffer.flush(self.step, self._session.take_new_sites(), origins)
        if window is not None:
            self._sink(window)
        self._session.buffer.clear()
        self._losses.end_window()
        self._parameters.end_window()
        self._session.end_window()


def _both(first: Callable[..., None], second: Callable[..., None]) -> Callable[..., None]:
    def observe(*arguments: Any) -> None:
        first(*arguments)
        second(*arguments)

    return observe
