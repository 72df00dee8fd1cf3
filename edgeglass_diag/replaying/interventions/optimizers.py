"""Changes of what an optimizer steps with: made before each step, put back behind it; schedulers see nothing."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from torch.optim import Optimizer

from edgeglass_diag.record.optimizer_steps import StepHooks
from edgeglass_diag.replaying.interventions.means import Means, register

Group = dict[str, Any]


@dataclass
class GroupChange(Means):
    """A setting of all parameter groups that is another one during each step.

    A step that raised is put back as the next one of its optimizer begins.
    """

    _kept: WeakKeyDictionary[Optimizer, list[tuple[Group, str, Any]]] = field(default_factory=WeakKeyDictionary)

    def attach(self) -> None:
        """Put hooks around the steps of all optimizers."""
        StepHooks(self._before, self._after).attach()

    @abstractmethod
    def changed(self, group: Group) -> dict[str, Any]:
        """Return the settings that a group has during its step, by name; empty where it is left alone."""

    def _before(self, optimizer: Optimizer, *_: Any) -> None:
        self._put_back(optimizer)
        kept = self._kept[optimizer] = []
        for group in optimizer.param_groups:
            for name, value in self.changed(group).items():
                kept.append((group, name, group[name]))
                group[name] = value
        self.applied += bool(kept)

    def _after(self, optimizer: Optimizer, *_: Any) -> None:
        self._put_back(optimizer)

    def _put_back(self, optimizer: Optimizer) -> None:
        for group, name, value in self._kept.pop(optimizer, ()):
            group[name] = value


@dataclass
class Scaled(GroupChange):
    """A number of the groups times the value of the intervention."""

    setting: ClassVar[str]

    def changed(self, group: Group) -> dict[str, Any]:
        """Return the scaled number; a tensor becomes a new one, of which the program's own is independent."""
        return {self.setting: group[self.setting] * self.wanted.value} if self.setting in group else {}


@dataclass
class Replaced(GroupChange):
    """A number of the groups that is the value of the intervention."""

    setting: ClassVar[str]

    def changed(self, group: Group) -> dict[str, Any]:
        """Return the new number where the optimizer has such a setting."""
        return {self.setting: self.wanted.value} if self.setting in group else {}


@register
@dataclass
class LearningRate(Scaled):
    """The learning rate of all groups times a factor; a factor of 1 is the placebo."""

    name = "optimizer.lr"
    summary = "scale the learning rate of all groups"
    setting = "lr"


@register
@dataclass
class WeightDecay(Replaced):
    """Another weight decay in all groups."""

    name = "optimizer.weight_decay"
    summary = "set the weight decay of all groups"
    setting = "weight_decay"


@register
@dataclass
class Epsilon(Replaced):
    """Another eps in all groups."""

    name = "optimizer.eps"
    summary = "set the eps of all groups"
    setting = "eps"


@register
@dataclass
class SecondBeta(GroupChange):
    """Another second beta in all groups that have two."""

    name = "optimizer.beta2"
    summary = "set the second beta of all groups"

    def changed(self, group: Group) -> dict[str, Any]:
        """Return the betas with another second one."""
        return {"betas": (group["betas"][0], self.wanted.value)} if "betas" in group else {}


@register
@dataclass
class ClearedGradients(Means):
    """Gradients of an optimizer's parameters are None after each of its steps.

    A program that reads them between its step and its next backward pass finds none.
    """

    name = "optimizer.clear_gradients"
    summary = "clear the gradients after each step"

    def attach(self) -> None:
        """Put a hook behind the steps of all optimizers."""
        StepHooks(lambda *_: None, self._after).attach()

    def _after(self, optimizer: Optimizer, *_: Any) -> None:
        optimizer.zero_grad(set_to_none=True)
        self.applied += 1
