"""Changes of what an optimizer steps with: made before each step, put back behind it; schedulers see nothing."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_pre_hooks

from edgeglass_diag.record.optimizer_steps import StepHooks, is_nested
from edgeglass_diag.records import SourceLine
from edgeglass_diag.replaying.interventions.means import Means, register

Group = dict[str, Any]


def around_steps(before: Callable[..., Any], after: Callable[..., Any]) -> None:
    """Put hooks around the steps of all optimizers, outside of those that are there.

    What observes a step sees it as it is taken. Of two changes of one setting the later is the outer one.
    """
    StepHooks(before, after).attach()
    ahead: Any = _global_optimizer_pre_hooks
    ahead.move_to_end(next(reversed(ahead)), last=False)


@dataclass
class StepChange(Means):
    """What is another one during each step of an optimizer.

    A step that raised is put back as the next one of its optimizer begins. A step that is called by another one of the
    same optimizer, as a subclass calls ``super()``'s, is part of that one.
    """

    asks_models = False
    _undo: WeakKeyDictionary[Optimizer, list[Callable[[], object]]] = field(default_factory=WeakKeyDictionary)

    def attach(self) -> None:
        """Put hooks around the steps of all optimizers."""
        around_steps(self._before, self._after)

    @abstractmethod
    def change(self, optimizer: Optimizer) -> list[Callable[[], object]]:
        """Change what an optimizer steps with; return what puts it back, nothing where there was nothing to change."""

    def line(self, optimizer: Optimizer) -> SourceLine | None:
        """Return the line of the program where what is changed is set."""
        return self.training.line_of(optimizer)

    def _before(self, optimizer: Optimizer, *_: Any) -> None:
        if is_nested(optimizer):
            return
        self._put_back(optimizer)
        undo = self._undo[optimizer] = self.change(optimizer)
        if undo:
            self.applied += 1
            self.place = self.place or self.line(optimizer)

    def _after(self, optimizer: Optimizer, *_: Any) -> None:
        if not is_nested(optimizer):
            self._put_back(optimizer)

    def _put_back(self, optimizer: Optimizer) -> None:
        for undo in reversed(self._undo.pop(optimizer, [])):
            undo()


@dataclass
class GroupChange(StepChange):
    """A setting of all parameter groups that is another one during each step.

    A group that two optimizers share, as one that wraps another does, is changed once.
    """

    _during: list[Group] = field(default_factory=list)

    @abstractmethod
    def changed(self, optimizer: Optimizer, group: int) -> dict[str, Any]:
        """Return the settings that a group has during its step, by name; empty where it is left alone."""

    def change(self, optimizer: Optimizer) -> list[Callable[[], object]]:
        """Change the groups; return what puts each back."""
        undo: list[Callable[[], object]] = []
        for index, group in enumerate(optimizer.param_groups):
            shared = any(group is other for other in self._during)
            if not shared and (settings := self.changed(optimizer, index)):
                undo.append(partial(self._restore, group, {name: group[name] for name in settings}))
                group.update(settings)
                self._during.append(group)
        return undo

    def _restore(self, group: Group, settings: dict[str, Any]) -> None:
        group.update(settings)
        self._during = [other for other in self._during if other is not group]


@dataclass
class Scaled(GroupChange):
    """A number of the groups times the value of the intervention."""

    setting: ClassVar[str]

    def changed(self, optimizer: Optimizer, group: int) -> dict[str, Any]:
        """Return the scaled number; a tensor becomes a new one, of which the program's own is independent."""
        settings = optimizer.param_groups[group]
        return {self.setting: settings[self.setting] * self.number} if self.setting in settings else {}


@dataclass
class Replaced(GroupChange):
    """A number of the groups that is the value of the intervention."""

    setting: ClassVar[str]

    def changed(self, optimizer: Optimizer, group: int) -> dict[str, Any]:
        """Return the new number where the optimizer has such a setting with another one."""
        settings = optimizer.param_groups[group]
        return {} if settings.get(self.setting, self.number) == self.number else {self.setting: self.number}


@register
@dataclass
class LearningRate(Scaled):
    """The learning rate of all groups times a factor; a factor of 1 is the placebo."""

    name = "optimizer.lr"
    setting = "lr"


@register
@dataclass
class LeastRate(GroupChange):
    """A learning rate that is smaller than the value, as 0, is the value."""

    name = "optimizer.lr_at_least"

    def changed(self, optimizer: Optimizer, group: int) -> dict[str, Any]:
        """Return the rate where it is smaller; a tensor, which does not wait for its device, becomes a new one."""
        rate = optimizer.param_groups[group].get("lr")
        if isinstance(rate, Tensor):
            return {"lr": rate.clamp(min=self.number)}
        return {} if rate is None or rate >= self.number else {"lr": self.number}


@register
@dataclass
class WeightDecay(Replaced):
    """Another weight decay in all groups."""

    name = "optimizer.weight_decay"
    setting = "weight_decay"


@register
@dataclass
class Epsilon(Replaced):
    """Another eps in all groups."""

    name = "optimizer.eps"
    setting = "eps"


@register
@dataclass
class SecondBeta(GroupChange):
    """Another second beta in all groups that have two."""

    name = "optimizer.beta2"

    def changed(self, optimizer: Optimizer, group: int) -> dict[str, Any]:
        """Return the betas with another second one."""
        betas = optimizer.param_groups[group].get("betas", ())
        return {"betas": (betas[0], self.number)} if len(betas) == 2 and betas[1] != self.number else {}


@register
@dataclass
class WeightDecayOfVectors(StepChange):
    """Another weight decay for the parameters of at most one dimension: biases, scales of norms, scalars.

    A group that holds others too is two during the step.
    """

    name = "optimizer.weight_decay_of_vectors"

    def change(self, optimizer: Optimizer) -> list[Callable[[], object]]:
        """Change or split the groups that have another weight decay; return what puts each back."""
        groups = optimizer.param_groups
        others = [group for group in groups if group.get("weight_decay", self.number) != self.number]
        return [undo for group in others for undo in self._split(groups, group)]

    def _split(self, groups: list[Group], group: Group) -> list[Callable[[], object]]:
        held = group["params"]
        vectors = [parameter for parameter in held if parameter.dim() <= 1]
        if not vectors:
            return []
        kept = {name: group[name] for name in ("params", "weight_decay")}
        if len(vectors) == len(held):
            group["weight_decay"] = self.number
            return [partial(group.update, kept)]
        own = {**group, "params": vectors, "weight_decay": self.number}
        group["params"] = [parameter for parameter in held if parameter.dim() > 1]
        groups.append(own)
        return [partial(group.update, kept), partial(_take_out, groups, own)]


def _take_out(groups: list[Group], own: Group) -> None:
    groups[:] = [group for group in groups if group is not own]
