"""Optimizers that step together: one after the other, with no forward pass in between."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.optim import Optimizer


class Round:
    """The steps that belong to one window: that of the optimizer that leads, and those of its companions.

    A companion steps after the leading one and before the next forward pass, as with a Muon for matrices and an AdamW
    for the rest, or with one optimizer for each parameter that steps inside of the backward pass. Which are to come is
    guessed at the first step of all, from the gradients that are there, and learned from then on. A critic or a
    discriminator is none: a forward pass lies between its step and the generator's.

    Attributes:
        closed_late: windows of the past whose companions did not come, so that the next step of the leading one ended
            them.
    """

    def __init__(self) -> None:
        self._companions: list[weakref.ref[Optimizer]] = []
        self._awaited: list[weakref.ref[Optimizer]] = []
        self._leading: weakref.ref[Optimizer] | None = None
        self.closed_late = 0

    @property
    def has_begun(self) -> bool:
        """Return whether a leading optimizer has stepped."""
        return self._leading is not None

    def expect(self, companions: Iterable[Optimizer]) -> None:
        """Wait for the steps of these as well, before any has stepped."""
        self._companions = [weakref.ref(optimizer) for optimizer in companions]

    @property
    def is_open(self) -> bool:
        """Return whether the leading optimizer has stepped, and companions of it have still to."""
        return bool(self._awaited)

    def ends_with(self, optimizer: Optimizer, *, leads: bool, passes: int | None) -> bool:
        """Return whether the window ends with this step.

        Args:
            optimizer: has stepped.
            leads: whether windows end with its steps, or those of its companions.
            passes: forward passes since the window began, None where they are not counted.
        """
        if leads:
            return self._begin(optimizer)
        if self._awaited:
            self._awaited = _without(self._awaited, optimizer)
            return not self._awaited
        leading = None if self._leading is None else self._leading()
        if passes == 0 and leading is not None and _holds_others(leading, optimizer):
            self._companions = [*_without(self._companions, optimizer), weakref.ref(optimizer)]
        return False

    def give_up(self) -> None:
        """Wait no more for those that did not come, now and from now on."""
        for missing in self._awaited:
            optimizer = missing()
            if optimizer is not None:
                self._companions = _without(self._companions, optimizer)
        self._awaited = []

    def _begin(self, leading: Optimizer) -> bool:
        if self._awaited:
            self.closed_late += 1
            self.give_up()
        self._leading = weakref.ref(leading)
        self._companions = _without(self._companions, leading)
        self._awaited = list(self._companions)
        return not self._awaited


def _without(known: list[weakref.ref[Optimizer]], optimizer: Optimizer) -> list[weakref.ref[Optimizer]]:
    return [other for other in known if (alive := other()) is not None and alive is not optimizer]


def held_by(optimizer: Optimizer) -> Iterator[Tensor]:
    """Yield the parameters of an optimizer, by no code of its own class."""
    return (p for group in optimizer.__dict__.get("param_groups", ()) for p in group["params"])


def living_optimizers() -> Iterator[Optimizer]:
    """Yield the optimizers of torch that are alive, by no code of their own classes."""
    alive = (other for other in gc.get_objects() if issubclass(type(other), Optimizer))
    return (other for other in alive if "param_groups" in other.__dict__)


def _others_than(leading: Optimizer, optimizer: Optimizer) -> Iterator[Tensor]:
    """Yield the parameters that an optimizer holds and the leading one, which it may be a wrapper of, does not."""
    own = {id(parameter) for parameter in held_by(leading)}
    return (p for p in held_by(optimizer) if id(p) not in own)


def _holds_others(leading: Optimizer, optimizer: Optimizer) -> bool:
    return next(_others_than(leading, optimizer), None) is not None


def about_to_step(leading: Optimizer, known: Iterable[tuple[str, Tensor]]) -> list[Optimizer]:
    """Return the other optimizers that hold a gradient which the leading one does not hold.

    Inside of a backward pass, where gradients come one after the other, that is those that hold other parameters.

    Args:
        leading: has stepped.
        known: names and parameters of the models that have run: an optimizer of others is none of this training.
    """
    passing = torch._C._current_graph_task_id() != -1
    ours = {id(parameter) for _, parameter in known if parameter.requires_grad}
    return [
        other
        for other in living_optimizers()
        if other is not leading
        and any(id(p) in ours and (passing or p.grad is not None) for p in _others_than(leading, other))
    ]
