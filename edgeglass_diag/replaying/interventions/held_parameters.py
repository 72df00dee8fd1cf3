"""Changes of which parameters learn: put into an optimizer, or let out of being frozen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.amp import GradScaler
from torch.optim import LBFGS, Optimizer

from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.optimizer_steps import is_nested
from edgeglass_diag.record.patching import Patch
from edgeglass_diag.records import SourceLine
from edgeglass_diag.replaying.interventions.means import Means, register
from edgeglass_diag.replaying.interventions.optimizers import Group, around_steps
from edgeglass_diag.replaying.interventions.step_gradients import Arguments, held_by, when_gradients_are_there
from edgeglass_diag.site_paths import common, parent, parts


@register
@dataclass
class Included(Means):
    """Parameters that have a gradient as an optimizer steps, and that no optimizer holds, are put into one.

    With a gradient scaler it is before that takes its factor off the gradients of an optimizer's parameters. L-BFGS,
    which keeps one vector of all its parameters, gets none.
    """

    name = "optimizer.include"

    def attach(self) -> None:
        """Put hooks before the steps of all optimizers, and before a scaler unscales their gradients."""
        around_steps(self._before, lambda *_: None)
        Patch(GradScaler, "unscale_", lambda *_: self._steps(), lambda *_: None).attach()

    def _before(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments | None:
        return None if is_nested(optimizer) else when_gradients_are_there(args, kwargs, self._steps)

    def line(self, optimizer: Optimizer) -> SourceLine | None:
        """Return the line of the program that decides what an optimizer holds."""
        return self.training.line_of(optimizer)

    def _steps(self) -> None:
        self.applied += self._put_in()

    def _put_in(self) -> int:
        """Put what is wanted, learns and is held by none into an optimizer; return how many it were."""
        held, number = self._held(), 0
        for name, parameter in self._wanted():
            if id(parameter) in held or parameter.grad is None or not parameter.requires_grad:
                continue
            if (found := self._place_for(name, parameter)) is not None:
                found.group["params"].append(parameter)
                if "param_names" in found.group:
                    found.group["param_names"].append(name)
                self.place = self.place or self.line(found.optimizer)
                number += 1
        return number

    def _wanted(self) -> Iterable[tuple[str, Tensor]]:
        return self.training.parameters(self.wanted.site)

    def _held(self) -> set[int]:
        return {id(p) for each in self.training.optimizers for group in each.param_groups for p in group["params"]}

    def _place_for(self, name: str, parameter: Tensor) -> _Place | None:
        """Return the group of the neighbours: that whose parameters share the longest part of the path.

        Of groups that share as much it is one for vectors, or one for matrices, as the parameter is itself, since
        weight decay tells them apart; then the largest. Parameters without a gradient are no neighbours. An optimizer
        for the other kind alone, as one for matrices, comes last.
        """
        names = {id(each): of for of, each in self.training.parameters()}
        wanted = _Wanted(name, _is_matrix(parameter), names)
        optimizers = [each for each in self.training.optimizers if not isinstance(each, LBFGS)]
        of_kind = {module for each in optimizers for module in wanted.modules_of_kind(each)}
        places = []
        for optimizer in optimizers:
            split = not wanted.modules_of_kind(optimizer) and of_kind & wanted.modules(optimizer)
            for group in optimizer.param_groups:
                if (near := wanted.shared_with(group)) is not None:
                    places.append(_Place(optimizer, group, (not split, *near)))
        return max(places, key=lambda place: place.fit, default=None)


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.dim() > 1


@dataclass(frozen=True)
class _Place:
    """A group into which a parameter can be put, and how well it fits: the greater the better."""

    optimizer: Optimizer
    group: Group
    fit: tuple[bool, int, bool, int]


@dataclass(frozen=True)
class _Wanted:
    """A parameter to which neighbours are looked for, and the paths of all by identity."""

    path: str
    is_matrix: bool
    paths: Mapping[int, str]

    def modules(self, optimizer: Optimizer) -> set[str]:
        """Return the modules of the parameters that an optimizer moves."""
        return {parent(self.paths.get(id(p), "")) for p in held_by(optimizer)}

    def modules_of_kind(self, optimizer: Optimizer) -> set[str]:
        """Return the modules of those that are matrices, or vectors, as this parameter is."""
        return {parent(self.paths.get(id(p), "")) for p in held_by(optimizer) if _is_matrix(p) == self.is_matrix}

    def shared_with(self, group: Group) -> tuple[int, bool, int] | None:
        """Return how long a part of the path a group shares, whether with one of its kind, and its size; None if 0."""
        near = [
            (len(parts(common([self.path, self.paths.get(id(p), "")]))), _is_matrix(p) == self.is_matrix)
            for p in group["params"]
            if p.grad is not None
        ]
        return (*max(near), len(near)) if near else None


@register
@dataclass
class Unfrozen(Included):
    """Parameters that are frozen before the first pass with gradients are so no more, and are put into an optimizer.

    It counts those that got a gradient and are in an optimizer.
    """

    name = "optimizer.unfreeze"
    _freed: Facts[Tensor, bool] = field(default_factory=Facts)

    def attach(self) -> None:
        """Put hooks before the first pass and before the steps of all optimizers."""
        self.training.before_first_pass(lambda _: self._unfreeze())
        super().attach()

    def _unfreeze(self) -> None:
        for _, parameter in self.training.parameters(self.wanted.site):
            if not parameter.requires_grad and parameter.is_floating_point():
                self._freed.set(parameter.requires_grad_(), False)

    def _wanted(self) -> Iterable[tuple[str, Tensor]]:
        return [(name, p) for name, p in super()._wanted() if p in self._freed]

    def line(self, optimizer: Optimizer) -> None:
        """Return None: the optimizer is not where they were frozen."""

    def _steps(self) -> None:
        self._put_in()
        held = self._held()
        for parameter, is_counted in self._freed.items():
            if not is_counted and parameter.grad is not None and id(parameter) in held:
                self._freed.set(parameter, True)
                self.applied += 1
