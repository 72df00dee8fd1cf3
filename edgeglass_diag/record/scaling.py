"""Mixed precision in float16: the factor on the loss, and the steps that were skipped because of overflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.amp.grad_scaler import OptState
from torch.optim import Optimizer

from edgeglass_diag.record.patching import Patch
from edgeglass_diag.record.session import Session
from edgeglass_diag.sites import Kind


class ScalerTap:
    """Watches ``torch.amp.GradScaler``, which Fabric, accelerate and transformers use as well.

    Args:
        session: state of the watch.
        skipped: told the optimizer whose step was skipped.
        stepped: number of steps that an optimizer has taken.
    """

    def __init__(
        self, session: Session, skipped: Callable[[Optimizer], None], stepped: Callable[[Optimizer], int]
    ) -> None:
        self._session, self._skipped, self._stepped = session, skipped, stepped
        self.while_recorded = Patch(torch.amp.GradScaler, "scale", self._scale)
        self.always = Patch(torch.amp.GradScaler, "step", self._step)

    def _scale(self, original: Callable[..., Any], scaler: Any, outputs: Any) -> Any:
        result = original(scaler, outputs)
        if scaler.is_enabled() and scaler._scale is not None:
            with self._session.measuring("optimizer", Kind.RECORDER):
                self._session.loss_scale = scaler._scale.detach().clone()
        return result

    def _step(self, original: Callable[..., Any], scaler: Any, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        before = self._stepped(optimizer)
        states = scaler._per_optimizer_states if scaler.is_enabled() else {}
        # A state is made at the first use: where there is none yet, nobody has called unscale_.
        untouched = scaler.is_enabled() and states.get(id(optimizer), {}).get("stage", OptState.READY) is OptState.READY
        self._session.unscaled_by_step = untouched
        try:
            result = original(scaler, optimizer, *args, **kwargs)
        finally:
            self._session.unscaled_by_step = False
        if scaler.is_enabled() and self._stepped(optimizer) == before:
            self._skipped(optimizer)
        return result
