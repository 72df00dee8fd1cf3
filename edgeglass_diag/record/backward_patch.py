"""The source of the events ``backward_begins`` and ``backward_ends``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from edgeglass_diag.record.dispatch import Dispatch
from edgeglass_diag.record.patching import Patch
from edgeglass_diag.record.profiler_ranges import BACKWARD, span
from edgeglass_diag.record.recording import Recording


class BackwardState:
    """Whether a backward pass is running; ``torch.autograd.grad`` is none.

    Attributes:
        is_running: whether.
    """

    def __init__(self) -> None:
        self.is_running = False


class BackwardPatch:
    """``torch.autograd.backward``, which ``Tensor.backward`` calls.

    Args:
        recording: state of the watch.
        dispatch: takes the events.
        state: set while a backward pass runs.
    """

    def __init__(self, recording: Recording, dispatch: Dispatch, state: BackwardState) -> None:
        self._recording, self._dispatch, self._state = recording, dispatch, state
        self.patch = Patch(torch.autograd, "backward", self._backward)

    def _backward(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        # torch calls it again for each function mode; what another thread trains is not watched
        if self._state.is_running or self._recording.clock.is_other_thread:
            return original(*args, **kwargs)
        tensors = args[0] if args else kwargs.get("tensors", ())
        given = args[1] if len(args) > 1 else kwargs.get("grad_tensors")
        if isinstance(tensors, (Tensor, list, tuple)):  # a generator is the user's to consume
            whole = [tensors] if isinstance(tensors, Tensor) else list(tensors)
            factors = list(given) if isinstance(given, (list, tuple)) else [given] * len(whole)
            self._dispatch.backward_begins(whole, factors)
        self._recording.stack.end_passes()
        self._state.is_running = True
        try:
            with span(BACKWARD):
                result = original(*args, **kwargs)
        finally:
            self._state.is_running = False
        self._dispatch.backward_ends()
        return result
