"""Changes of how the learning rate goes over the steps, and of how long a gradient may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from edgeglass_diag.record.optimizer_steps import StepHooks
from edgeglass_diag.replaying.interventions.means import Means, register
from edgeglass_diag.replaying.interventions.optimizers import Group, GroupChange


@register
@dataclass
class WarmUp(GroupChange):
    """The learning rate of the k-th step of an optimizer, from 1, times min(1, k / n), with n the value."""

    name = "optimizer.warmup"
    summary = "let the learning rate rise linearly over the first steps"
    _steps: WeakKeyDictionary[Optimizer, int] = field(default_factory=WeakKeyDictionary)
    _share: float = 1.0

    def changed(self, group: Group) -> dict[str, Any]:
        """Return the learning rate of this step."""
        return {"lr": group["lr"] * self._share} if self._share < 1 else {}

    def _before(self, optimizer: Optimizer, *rest: Any) -> None:
        step = self._steps[optimizer] = self._steps.get(optimizer, 0) + 1
        self._share = min(1.0, step / float(self.wanted.value or 1))
        super()._before(optimizer, *rest)


@register
@dataclass
class ClippedGradients(Means):
    """The gradients of an optimizer's parameters have together at most the norm that is the value, at each step.

    They stay clipped behind the step. A step with a closure computes its gradients after the clipping: not clipped.
    """

    name = "optimizer.clip"
    summary = "clip the norm of the gradients before each step"

    def attach(self) -> None:
        """Put a hook before the steps of all optimizers."""
        StepHooks(self._before, lambda *_: None).attach()

    def _before(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if any(callable(each) for each in (*args[1:], *kwargs.values())):
            return
        held = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if held:
            clip_grad_norm_(held, float(self.wanted.value or 0))
            self.applied += 1
