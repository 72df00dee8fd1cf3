"""Changes of how the learning rate goes over the steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor
from torch.optim import Optimizer

from edgeglass_diag.records import SourceLine
from edgeglass_diag.replaying.interventions.means import register
from edgeglass_diag.replaying.interventions.optimizers import GroupChange


@register
@dataclass
class WarmUp(GroupChange):
    """The learning rate of the k-th step of an optimizer, from 1, times min(1, k / n), with n the value."""

    name = "optimizer.warmup"
    _steps: WeakKeyDictionary[Optimizer, int] = field(default_factory=WeakKeyDictionary)

    def change(self, optimizer: Optimizer) -> list[Callable[[], object]]:
        """Count the step, and change its learning rate."""
        self._steps[optimizer] = self._steps.get(optimizer, 0) + 1
        return super().change(optimizer)

    def changed(self, optimizer: Optimizer, group: int) -> dict[str, Any]:
        """Return the learning rate of this step."""
        share, settings = self._steps[optimizer] / self.number, optimizer.param_groups[group]
        return {"lr": settings["lr"] * share} if share < 1 and "lr" in settings else {}


@register
@dataclass
class Constant(GroupChange):
    """The learning rate of each group is that of its first step at which it was above 0."""

    name = "schedule.constant"
    _first: WeakKeyDictionary[Optimizer, dict[int, Any]] = field(default_factory=WeakKeyDictionary)

    def changed(self, optimizer: Optimizer, group: int) -> dict[str, Any]:
        """Return the first learning rate of a group where it has another one now."""
        first, now = self._first.setdefault(optimizer, {}), optimizer.param_groups[group].get("lr")
        if now is None:
            return {}
        if group not in first and now > 0:
            first[group] = now.clone() if isinstance(now, Tensor) else now
        return {"lr": first[group]} if group in first and now != first[group] else {}

    def line(self, optimizer: Optimizer) -> SourceLine | None:
        """Return the line of the program that made the scheduler."""
        return self.training.line_of_schedule(optimizer)
