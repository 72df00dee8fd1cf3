"""The source of the events ``backward_begins`` and ``backward_ends``."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from edgeglass_diag.record.backward_state import BackwardState
from edgeglass_diag.record.between_passes import BetweenPasses
from edgeglass_diag.record.boundary import elsewhere_or_capturing, entry
from edgeglass_diag.record.dispatch import Dispatch
from edgeglass_diag.record.patching import Patch
from edgeglass_diag.record.profiler_ranges import BACKWARD, span
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.shards import is_foreign


class BackwardPatch:
    """``torch.autograd.backward``, which ``Tensor.backward`` calls.

    Args:
        recording: state of the watch.
        dispatch: takes the events, where they are observed.
        state: set while a backward pass runs.
        between: is told of passes in windows that are not recorded too, as long as it needs to be.
    """

    def __init__(self, recording: Recording, dispatch: Dispatch, state: BackwardState, between: BetweenPasses) -> None:
        self.boundary = recording.boundary
        self._recording, self._dispatch, self._state = recording, dispatch, state
        self._between, self._is_observed = between, False
        self.patch = Patch(torch.autograd, "backward", self._begin, self._end)

    def attach(self) -> None:
        """Begin to hand events on."""
        self._is_observed = True
        self.patch.attach()

    def detach(self) -> None:
        """Cease to."""
        self._is_observed = False
        if not self._between.is_needed:
            self.patch.detach()

    @entry("backward", unless=elsewhere_or_capturing)
    def _begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ExitStack | None:
        if self._state.is_running:  # torch calls it again for each function mode
            return None
        self._between.pass_begins()
        if self._is_observed:
            self._announce(args, kwargs)
        self._recording.stack.end_passes()
        trace_range = ExitStack()
        trace_range.enter_context(span(BACKWARD))
        self._state.is_running = self._state.has_run = True
        return trace_range

    def _announce(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tensors = args[0] if args else kwargs.get("tensors", ())
        given = args[1] if len(args) > 1 else kwargs.get("grad_tensors")
        if isinstance(tensors, (Tensor, list, tuple)):  # a generator is the user's to consume
            whole = [tensors] if isinstance(tensors, Tensor) else list(tensors)
            factors = list(given) if isinstance(given, (list, tuple)) else [given] * len(whole)
            if not any(isinstance(value, Tensor) and is_foreign(value) for value in (*whole, *factors)):
                self._dispatch.backward_begins(whole, factors)

    @entry("backward", always=True)
    def _end(self, trace_range: ExitStack, result: object, raised: bool) -> None:
        self._state.is_running = False
        trace_range.close()
        if not raised:
            if self._is_observed:
                self._dispatch.backward_ends()
            self._between.backward_ended()
