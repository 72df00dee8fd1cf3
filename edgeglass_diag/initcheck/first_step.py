"""Observe a program up to its first optimizer step, which is not taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from edgeglass_diag.initcheck.inspect import Inspection, inspection_of
from edgeglass_diag.initcheck.parameter_status import ParameterStatus, living_optimizers, parameter_statuses
from edgeglass_diag.probing.probes import Probes
from edgeglass_diag.record import Recorder
from edgeglass_diag.record.buffer import PendingWindow


class FirstStepReached(BaseException):
    """Raised when the first optimizer step would begin; no Exception, as it is no error of the program."""


class FirstStep:
    """A context manager that records what happens inside, and ends it by FirstStepReached at the first step.

    The step is not taken: the exception is raised before it. A step with a closure has its forward and backward pass
    inside, so its closure is called once. Any later step, and one in a forked copy, is ended in the same way.

    Args:
        probed: whether changes of the inputs are tried on copies of the process.

    Attributes:
        reached: whether an optimizer was about to step.
        probes: those changes, None without.
        statuses: of each parameter of the models that ran, by name.
    """

    def __init__(self, *, probed: bool = False) -> None:
        self.probes = Probes() if probed else None
        self._windows: list[PendingWindow] = []
        self._recorder = Recorder(lambda step: step == 0, self._windows.append, attention_logits=None, operands=True)
        self.reached = False
        self.statuses: dict[str, ParameterStatus] = {}
        self._optimizers: Callable[[], Sequence[Optimizer] | None] = living_optimizers

    def takes(self, model: nn.Module, optimizers: Sequence[Optimizer] | None) -> None:
        """Set the model and its optimizers (None: none is known), instead of finding those that run."""
        self._recorder.name_model(model)
        self._optimizers = lambda: optimizers

    @property
    def inspection(self) -> Inspection | None:
        """Return what was observed; None if nothing was."""
        operands = self._recorder.operands
        if not self._windows or operands is None:
            return None
        window = self._windows[0].resolve()
        if self.probes is not None:
            window = replace(
                window, sites=(*window.sites, *self.probes.sites), readings=(*window.readings, *self.probes.readings)
            )
        return inspection_of(window, operands.found)

    def __enter__(self) -> FirstStep:
        self._recorder.__enter__()
        if self.probes is not None:
            self.probes.__enter__()
        stop: Any = self._stop
        self._handle = register_optimizer_step_pre_hook(stop)  # after the recorder's own, which reads the gradients
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.probes is not None:  # a copy ends here, if not before
            self.probes.__exit__(kind, error, trace)
        self._handle.remove()
        if not self.statuses:
            self.statuses = parameter_statuses(self._recorder.named_parameters, self._optimizers())
        self._recorder.__exit__(kind, error, trace)

    def _stop(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not self.reached:
            closure = args[1] if len(args) > 1 else kwargs.get("closure")
            if callable(closure):
                with torch.enable_grad():
                    closure()
            self.reached = True
            self.statuses = parameter_statuses(self._recorder.named_parameters, self._optimizers())
            self._recorder.leave_step(optimizer)
        raise FirstStepReached
