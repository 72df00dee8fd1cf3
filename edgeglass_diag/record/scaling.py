"""Mixed precision in float16: the factor on the loss, and the steps that were skipped because of overflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.amp.grad_scaler import OptState
from torch.optim import Optimizer

from edgeglass_diag.record.boundary import elsewhere_or_capturing, entry
from edgeglass_diag.record.observer import Observer
from edgeglass_diag.record.patching import Patch
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.signals.parameters import OPTIMIZER_LOSS_SCALE


@dataclass(frozen=True, slots=True)
class _ScalerStep:
    """A step of a scaler, and the number of steps that its optimizer had taken before."""

    scaler: torch.amp.GradScaler
    optimizer: Optimizer
    steps: int


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
        self.boundary = recording.boundary
        self._recording, self._skipped = recording, skipped
        self._factor: Tensor | None = None
        self.unscales_in_step = False
        self.while_recorded = Patch(torch.amp.GradScaler, "scale", self._scaling, self._scaled)
        self.always = Patch(torch.amp.GradScaler, "step", self._begin_step, self._end_step)

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

    @entry("loss_scale", unless=elsewhere_or_capturing)
    def _scaling(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.amp.GradScaler:
        scaler: torch.amp.GradScaler = args[0]
        return scaler

    @entry("loss_scale")
    def _scaled(self, scaler: torch.amp.GradScaler, result: Any, raised: bool) -> None:
        if not raised and scaler.is_enabled() and scaler._scale is not None:
            self._factor = scaler._scale.detach().clone()

    @entry("loss_scale", unless=elsewhere_or_capturing)
    def _begin_step(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _ScalerStep | None:
        scaler, optimizer = args[0], args[1] if len(args) > 1 else kwargs["optimizer"]
        if not scaler.is_enabled():
            return None
        # A state is made at the first use: where there is none yet, unscale_ was not called.
        state = scaler._per_optimizer_states.get(id(optimizer), {})
        step = _ScalerStep(scaler, optimizer, self._recording.clock.steps_of(optimizer))
        self.unscales_in_step = state.get("stage", OptState.READY) is OptState.READY
        return step

    @entry("loss_scale", always=True)
    def _end_step(self, step: _ScalerStep, result: Any, raised: bool) -> None:
        self.unscales_in_step = False
        if not raised and self._recording.clock.steps_of(step.optimizer) == step.steps:
            self._skipped(step.optimizer)
