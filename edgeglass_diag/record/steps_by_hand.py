"""Steps that no optimizer of torch takes: after a backward pass something else writes to the weights."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from edgeglass_diag.measures.gradients import sample
from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.nested import tensors_in
from edgeglass_diag.record.observer import Function, FunctionHandler, Observer, OptimizerStep
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.rounds import held_by, living_optimizers
from edgeglass_diag.record.shards import is_measurable, is_sharded, local_part
from edgeglass_diag.record.training_thread import PATIENCE
from edgeglass_diag.record.weight_writes import WRITING, WeightWrites
from edgeglass_diag.sites import Coverage, RecorderSite

_IDLE = 64
"""Writes after which an optimizer of torch that has not stepped counts as one that never will. A training that tries
weights before its step (SAM) writes twice for each backward pass, of which seldom more than 16 are accumulated."""


class StepsByHand(Observer):
    """Follows weights from a backward pass that gave them gradients to the next pass, as long as no optimizer steps.

    A step begins with the first write to one of them, when its gradients are what they are for the update, and has
    ended when the next forward or backward pass begins. Where an optimizer of torch is alive that holds some of them,
    its steps are waited for.

    Args:
        recording: state of the watch.
        begin: called where a step begins in a recorded window.

    Attributes:
        is_possible: whether no optimizer of torch has stepped.
        waits: whether weights have gradients that they were not yet changed by.
        has_differentiated: whether ``torch.autograd.grad`` was asked for gradients of weights, which no ``grad`` holds.
    """

    def __init__(self, recording: Recording, begin: Callable[[OptimizerStep], None]) -> None:
        self._recording, self._begin = recording, begin
        self._writes = WeightWrites()
        self._trainable: list[weakref.ref[Tensor]] = []
        self._before: dict[int, Tensor] = {}
        self._leading: Facts[Tensor, bool] = Facts()
        self._followers = 0
        self._idle: weakref.ref[Optimizer] | None = None
        self._tried = 0
        self._begun: OptimizerStep | None = None
        self._is_recorded = False
        self.is_possible = True
        self.has_differentiated = False

    @property
    def functions_in_any_phase(self) -> Mapping[Function, FunctionHandler]:
        """The functions that write, and the one that differentiates; none once an optimizer has stepped."""
        handlers: dict[Function, FunctionHandler] = dict.fromkeys(WRITING, self._follow)
        handlers[torch.autograd.grad] = self._note_gradients
        return handlers if self.is_possible else {}

    @property
    def waits(self) -> bool:
        """Whether weights have gradients, and nothing was seen to write to them."""
        return bool(self._writes) and self._begun is None

    def end(self) -> None:
        """Cease for good: an optimizer of torch steps."""
        self.is_possible = False
        self._clear()
        self._trainable.clear()

    def backward_ended(self, *, recorded: bool) -> None:
        """Look at the weights that have a gradient now.

        Args:
            recorded: whether the window is recorded; otherwise those that were trainable in the last one are looked at.
        """
        if not self.is_possible:
            return
        self._is_recorded = recorded
        if recorded or not self._trainable:
            named = self._recording.naming.named_parameters
            known = [p for _, p in named if p.requires_grad and is_measurable(p) and not is_sharded(p)]
            self._trainable = [weakref.ref(parameter) for parameter in known]
        moving = [parameter for parameter in self._living() if parameter.grad is not None]
        self._writes.note(moving)
        if recorded:
            self._before |= {id(p): sample(local_part(p)) for p in moving if id(p) not in self._before}

    def take(self) -> OptimizerStep | None:
        """Return the step that has ended, as the next pass begins or the watch ends; None where there was none.

        Its number is 0 where windows end with it: it moves weights that the first step has moved.
        """
        written = self._writes.written if self._writes else []
        if written and self._begun is None:
            self._begin_step(written)
        step, self._begun = self._begun, None
        if step is not None and step.number == 0 and not self._leads:
            for weight in written:
                self._leading.set(weight, True)
        if written:
            self._clear()
        return step

    def _clear(self) -> None:
        self._writes.clear()
        self._before.clear()

    def _follow(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if self._writes and self._writes.follow(func, args[0]) and self._begun is None:
            self._begin_step(self._writes.written)

    def _note_gradients(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        of = args[1] if len(args) > 1 else kwargs.get("inputs")
        if isinstance(of, (Tensor, list, tuple)):
            self.has_differentiated |= any(isinstance(tensor, Parameter) for tensor in tensors_in([of]))

    def _begin_step(self, written: Sequence[Tensor]) -> None:
        """Begin a step with the weights that were written to first, unless it is an optimizer's to take."""
        if self._is_an_optimizers():
            self._clear()
            return
        held = self._living()
        moving = [p for p in held if id(p) in self._before] if self._is_recorded else written
        number = self._number(written)
        self._begun = OptimizerStep(None, number, self._recording.clock.step, held, moving, dict(self._before))
        self._recording.sites.cannot_observe(RecorderSite(path="steps"), Coverage.STEPS_BY_HAND)
        if self._is_recorded:
            self._begin(self._begun)

    @property
    def _leads(self) -> bool:
        """Whether weights are known with whose steps windows end."""
        return next(self._leading.items(), None) is not None

    def _number(self, written: Sequence[Tensor]) -> int:
        """Return 0 for a step with which windows end; others do where those weights are gone or left alone."""
        if any(weight in self._leading for weight in written):
            self._followers = 0
        elif self._leads:
            self._followers += 1
            if self._followers <= PATIENCE:
                return 1
            self._leading.clear()
        return 0

    def _living(self) -> list[Tensor]:
        return [parameter for reference in self._trainable if (parameter := reference()) is not None]

    def _is_an_optimizers(self) -> bool:
        """Return whether an optimizer of torch is alive that holds weights of this training and may still step."""
        if self._leads:
            return False
        self._tried += 1
        if self._tried > _IDLE:
            return False
        if self._idle is None or self._idle() is None:
            found = _holder({id(parameter) for parameter in self._living()})
            self._idle = None if found is None else weakref.ref(found)
        return self._idle is not None


def _holder(weights: set[int]) -> Optimizer | None:
    """Return an optimizer of torch that holds one of these weights, by no code of its own class."""
    return next((other for other in living_optimizers() if any(id(p) in weights for p in held_by(other))), None)
