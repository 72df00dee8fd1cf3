"""The source of the event that a model is being built while the training runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from torch import nn
from torch.nn.modules import module as hooks
from torch.utils.hooks import RemovableHandle

from edgeglass_diag.record.boundary import entry, unobservable
from edgeglass_diag.record.function_mode import FunctionMode
from edgeglass_diag.record.observer_list import Observers
from edgeglass_diag.record.recording import Recording

_MOST = 8
"""Windows that are recorded because a model is built in them: of a program that builds one in each step no more."""


class ModelBuilding:
    """torch's hook for parameters that a module is given, of which those that its constructor gives count.

    The window in which a model is built after the first step is recorded: where its initial values come from, and
    the first step that is taken with them.

    Args:
        recording: state of the watch.
        observers: provenance among them, which begins anew.
        functions: the mode that is to call it.
        record: puts all sources of events in place.
    """

    def __init__(
        self, recording: Recording, observers: Observers, functions: FunctionMode, record: Callable[[], None]
    ) -> None:
        self.boundary = recording.boundary
        self._frames, self._observers = recording.stack.frames, observers
        self._functions, self._record, self._left = functions, record, _MOST
        self._handle = RemovableHandle(hooks._global_parameter_registration_hooks)

    def attach(self) -> None:
        """Put the hook in place."""
        hooks._global_parameter_registration_hooks[self._handle.id] = self._given

    def remove(self) -> None:
        """Take the hook away."""
        self._handle.remove()

    @entry("building", unless=unobservable)
    def _given(self, module: nn.Module, name: str, parameter: Any) -> None:
        provenance = self._observers.provenance
        if self._left and not provenance.is_open and not self._frames and _is_constructed(module):
            self._left -= 1
            provenance.begin()
            self._functions.observe_for(self._observers.all)
            self._record()


def _is_constructed(module: nn.Module) -> bool:
    """Return whether the first code outside of this package and of ``torch.nn.Module`` is a module's constructor."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith((__package__ or "", hooks.__name__)):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_name == "__init__" and frame.f_locals.get("self") is module
