"""Hands each event to the observers that listen to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from edgeglass_diag.record.boundary import Boundary, measuring
from edgeglass_diag.record.module_stack import Frame
from edgeglass_diag.record.observer import ModuleCall, Observer, OptimizerStep
from edgeglass_diag.sites import Kind

EVENTS = (
    "module_begins", "module_ends", "function_called", "backward_begins", "backward_ends", "before_step", "after_step",
    "window_ends", "forget",
)  # fmt: skip
_TABLES = ("functions", "functions_in_any_phase")
"""What an observer overrides to have the event ``function_called``."""


def listens(observer: type[Observer], event: str) -> bool:
    """Return whether observers of this class do something at an event."""
    names = _TABLES if event == "function_called" else (event,)
    return any(getattr(observer, name) is not getattr(Observer, name) for name in names)


class Dispatch:
    """The events of one watch. A failure of one observer is noted, and the others have the event all the same.

    Args:
        observers: in the order in which they have an event.
        boundary: where failures are noted.
    """

    def __init__(self, observers: Sequence[Observer], boundary: Boundary) -> None:
        self._boundary = boundary
        self._listeners: dict[str, tuple[tuple[str, Callable[..., None]], ...]] = {
            event: tuple(
                (type(observer).__name__, getattr(observer, event))
                for observer in observers
                if event != "function_called" and listens(type(observer), event)
            )
            for event in EVENTS
        }

    def module_begins(self, outermost: Frame, arguments: tuple[Any, ...]) -> None:
        """A module is called."""
        self._boundary.each(self._listeners["module_begins"], outermost.path, outermost, arguments)

    def module_ends(self, call: ModuleCall) -> None:
        """A module of a training forward pass has returned."""
        self._boundary.each(self._listeners["module_ends"], call.frame.path, call)

    def backward_begins(self, tensors: Sequence[Tensor], factors: Sequence[Tensor | None]) -> None:
        """A backward pass begins."""
        self._measure("backward_begins", tensors, factors)

    def backward_ends(self) -> None:
        """A backward pass has returned."""
        self._measure("backward_ends")

    def before_step(self, step: OptimizerStep) -> None:
        """An optimizer is about to step."""
        self._measure("before_step", step)

    def after_step(self, step: OptimizerStep) -> None:
        """An optimizer has stepped."""
        self._measure("after_step", step)

    def window_ends(self) -> None:
        """The window is about to be handed on."""
        self._measure("window_ends")

    def forget(self) -> None:
        """The window has been handed on."""
        self._measure("forget")

    def _measure(self, event: str, *arguments: object) -> None:
        with measuring(self._boundary, event, Kind.RECORDER):
            self._boundary.each(self._listeners[event], None, *arguments)
