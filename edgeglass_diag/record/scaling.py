"""Mixed precision in float16: the factor on the loss, and the steps that were skipped because of overflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.amp.grad_scaler import OptState
from torch.optim import Optimizer

from edgeglass_diag.record.observer import Observer
from edgeglass_diag.record.patching import Patch
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.signals.parameters import OPTIMIZER_LOSS_SCALE
from edgeglass_diag.sites import Kind


class LossScaleObserver(Observer):
    """Watches ``torch.amp.GradScaler``, which Fabric, accelerate and transformers use as well.

    Args:
        recording: state of the watch.
        skipped: called with the optimizer whose step was skipped.

    Attributes:
        while_recorded: the patch that is in place while a window is recorded.
        always: the patch that is in place as long as the watch lasts.
        unscales_in_step: whether the scaler itself takes its factor off the gradients in the step that is running,
            and nothing has done so before.
    """

    def __init__(self, recording: Recording, skipped: Callable[[Optimizer], None]) -> None:
        self._recording, self._skipped = recording, skipped
        self._factor: Tensor | None = None
        self.unscales_in_step = False
        self.while_recorded = Patch(torch.amp.GradScaler, "scale", self._scale)
        self.always = Patch(torch.amp.GradScaler, "step", self._step)

    def unscaled(self, value: Tensor) -> Tensor:
        """Return a loss, or a gradient of it, without the factor that mixed precision puts on it."""
        return value if self._factor is None else value / self._factor.to(value)

    def window_ends(self) -> None:
        """Write the factor."""
        if self._factor is not None:
            self._recording.buffer.add("", OPTIMIZER_LOSS_SCALE, self._factor)

    def forget(self) -> None:
        """Forget the factor of the window."""
        self._factor = None

    def _scale(self, original: Callable[..., Any], scaler: Any, outputs: Any) -> Any:
        result = original(scaler, outputs)
        if scaler.is_enabled() and scaler._scale is not None:
            with self._recording.measuring("optimizer", Kind.RECORDER):
                self._factor = scaler._scale.detach().clone()
        return result

    def _step(self, original: Callable[..., Any], scaler: Any, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        steps_of = self._recording.clock.steps_of
        before = steps_of(optimizer)
        states = scaler._per_optimizer_states if scaler.is_enabled() else {}
        # A state is made at the first use: where there is none yet, unscale_ was not called.
        untouched = scaler.is_enabled() and states.get(id(optimizer), {}).get("stage", OptState.READY) is OptState.READY
        self.unscales_in_step = untouched
        try:
            result = original(scaler, optimizer, *args, **kwargs)
        finally:
            self.unscales_in_step = False
        if scaler.is_enabled() and steps_of(optimizer) == before:
            self._skipped(optimizer)
        return result
