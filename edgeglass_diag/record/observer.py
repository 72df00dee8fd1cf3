"""What an observer is, and the events of a training that it can listen to."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from torch import Tensor
from torch.optim import Optimizer

from edgeglass_diag.measures.gradients import samples
from edgeglass_diag.record.module_stack import Frame
from edgeglass_diag.record.shards import local_part

Function = Callable[..., Any]
FunctionHandler = Callable[[Function, tuple[Any, ...], dict[str, Any], Any], None]
"""Called after a function of torch with (function, args, kwargs, result), outside of the function mode."""


def EVERY_FUNCTION() -> None:  # noqa: N802  a key among functions
    """Stand for all functions in a table of handlers, which come before those of single functions.

    Such a handler is called where a function gives out what may hold a tensor; where it does not, only while an
    observer ``follows_uses``.
    """


BY_EFFECT: Final[frozenset[Function]] = frozenset({Tensor.__setitem__, Tensor.tolist})
"""Functions that matter for what becomes of their first argument, whatever they give out."""

NO_FUNCTIONS: Final[Mapping[Function, FunctionHandler]] = {}


@dataclass(slots=True, eq=False)  # frozen, it would cost a small module's call as much again
class ModuleCall:
    """A call of a module that has ended; nobody changes it.

    Attributes:
        frame: the module and the path of the call.
        arguments: as called.
        keywords: as called.
        given: all tensors among both.
        made: floating tensors among its outputs that were not given.
        fresh: those of them that are not the output of a module inside of it.
        is_outermost: whether no other module is running.
    """

    frame: Frame
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    given: Sequence[Tensor]
    made: Sequence[Tensor]
    fresh: Sequence[Tensor]
    is_outermost: bool


@dataclass(frozen=True, slots=True)
class OptimizerStep:
    """A step of an optimizer, or of code that writes to weights itself, in a recorded window.

    Attributes:
        optimizer: which steps, None where none does.
        number: of the optimizer, from 0 in order of their first steps; without one 0 where the window ends with it.
        window: number of the window.
        held: all parameters that it holds; without one all that are trainable.
        moving: those of them that have a gradient; without one those that backward gave one, whatever is left of it.
        before: samples of their values by id, where the first of them has been written to already.
    """

    optimizer: Optimizer | None
    number: int
    window: int
    held: Sequence[Tensor]
    moving: Sequence[Tensor]
    before: Mapping[int, Tensor] = field(default_factory=dict)

    @property
    def groups(self) -> Sequence[Mapping[str, Any]]:
        """The groups of parameters and their settings, which only an optimizer has."""
        return () if self.optimizer is None else self.optimizer.param_groups

    def samples(self, parameters: Sequence[Tensor], parts: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return a sample of the values of each of these parameters before the step.

        Args:
            parameters: that are held.
            parts: what this process has of each, where that was taken already.
        """
        if not self.before:
            return samples(list(map(local_part, parameters)) if parts is None else parts)
        unknown = [parameter for parameter in parameters if id(parameter) not in self.before]
        taken = {id(p): s for p, s in zip(unknown, samples(list(map(local_part, unknown))), strict=True)}
        return [taken[id(p)] if id(p) in taken else self.before[id(p)] for p in parameters]


class OptimizerNumbers:
    """Numbers of optimizers; one that comes when another is gone takes its number."""

    def __init__(self) -> None:
        self._optimizers: list[weakref.ref[Optimizer]] = []

    def number(self, optimizer: Optimizer) -> int:
        """Return the number of an optimizer, 0 for the first."""
        known = [reference() for reference in self._optimizers]
        for number, other in enumerate(known):
            if other is optimizer:
                return number
        number = next((number for number, other in enumerate(known) if other is None), len(known))
        self._optimizers[number : number + 1] = [weakref.ref(optimizer)]
        return number


class Observer:
    """Something that observes a training while a window is recorded; every event does nothing unless overridden.

    What an observer needs of another it takes in its constructor. Within one event no observer depends on whether
    another has had it already. ``docs/observers.md`` draws when each event comes.
    """

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """Return what is called after which function of torch in a training forward pass (``function_called``)."""
        return NO_FUNCTIONS

    @property
    def functions_in_any_phase(self) -> Mapping[Function, FunctionHandler]:
        """Return the same for functions that matter without gradients too, as in evaluation and between steps."""
        return NO_FUNCTIONS

    @property
    def follows_uses(self) -> bool:
        """Return whether functions that take a tensor matter now although they give out none."""
        return False

    def module_begins(self, outermost: Frame, arguments: tuple[Any, ...]) -> None:
        """Take note that a module is called, within ``outermost`` or as it."""

    def module_ends(self, call: ModuleCall) -> None:
        """Take note that a module of a training forward pass has returned."""

    def backward_begins(self, tensors: Sequence[Tensor], factors: Sequence[Tensor | None]) -> None:
        """Take note that a backward pass begins at ``tensors``, whose gradients are ``factors`` (1 where None)."""

    def backward_ends(self) -> None:
        """Take note that a backward pass has returned; one that raises does not end."""

    def before_step(self, step: OptimizerStep) -> None:
        """Take note that an optimizer is about to step."""

    def after_step(self, step: OptimizerStep) -> None:
        """Take note that an optimizer has stepped."""

    def window_ends(self) -> None:
        """Write what is still to be written of the window."""

    def forget(self) -> None:
        """Release what belongs to the window, which has been handed on."""
