"""Follows the roles of parameters: trainable, held by an optimizer, given a gradient, still in the model."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from torch import Tensor

from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.module_sites import ModuleSiteObserver
from edgeglass_diag.record.module_tree import parameters
from edgeglass_diag.record.observer import Observer, OptimizerStep
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.signals.parameters import OPTIMIZER_ORPHANS
from edgeglass_diag.sites import Coverage, Kind, ParameterSite

_NOT_HELD = (None, Coverage.NOT_HELD, Coverage.NOT_HELD_WITH_GRADIENT, Coverage.FROZEN, Coverage.HELD_FROZEN)
"""What a parameter is until an optimizer holds it or its gradient is observed."""


class ParameterRoleObserver(Observer):
    """Notes in each recorded window which role each parameter has, and since when another than before.

    Args:
        recording: state of the watch.
        modules: knows which modules were called without gradients.
    """

    def __init__(self, recording: Recording, modules: ModuleSiteObserver) -> None:
        self._recording, self._modules = recording, modules
        self._held: Facts[Tensor, bool] = Facts()
        self._given: Facts[Tensor, bool] = Facts()
        self._seen: Facts[Tensor, int] = Facts()  # gradients of what is not held, with their versions
        self._has_looked = False
        self._tensors: dict[str, weakref.ref[Tensor]] = {}
        self._trainable: dict[str, bool] = {}
        self._ties: dict[str, str] = {}
        self._changes = 0

    def backward_begins(self, tensors: Sequence[Tensor], factors: Sequence[Tensor | None]) -> None:
        """Note which gradients are left from before the watch, as those of a teacher's own training."""
        if not self._has_looked:
            self._has_looked = True
            unnamed = (p for module, _ in self._modules.without_gradients.items() for p in parameters(module))
            for parameter in (*(held for _, held in self._recording.naming.current()), *unnamed):
                if parameter.grad is not None:
                    self._seen.set(parameter.grad, parameter.grad._version)

    def backward_ends(self) -> None:
        """Note which of the parameters held have a gradient now, whatever is left of it at the step."""
        self._given.set_each([parameter for parameter, _ in self._held.items() if parameter.grad is not None], True)

    def before_step(self, step: OptimizerStep) -> None:
        """Note what an optimizer holds that has no gradient, and count what no model has."""
        orphans = 0
        moving = {id(parameter) for parameter in step.moving}
        self._held.set_each(self._held.unknown(step.held), True)
        still = [parameter for parameter in step.held if id(parameter) not in moving]
        for parameter, path in zip(still, self._recording.naming.paths_of(still), strict=True):
            if path == self._recording.naming.UNNAMED:
                orphans += 1
            else:
                self._recording.sites.cannot_observe(ParameterSite(path=path), self._without_gradient(parameter))
        self._recording.buffer.add("", OPTIMIZER_ORPHANS, float(orphans))

    def window_ends(self) -> None:
        """Note the roles of all parameters of the models known."""
        self._modules.name_evaluated()
        current, changes = self._recording.naming.current(), self._recording.naming.changes
        ties: dict[str, str] = {}
        tensors: dict[str, Tensor] = {}
        first: dict[int, str] = {}
        for path, held in current:
            known = first.setdefault(id(held), path)
            if known == path:
                tensors[path] = held
            else:
                ties[path] = known
        if changes != self._changes:
            self._note_replaced(tensors, first)
            self._note_untied(ties, tensors)
        strange = set(map(id, self._held.unknown(tensors.values())))
        for path, tensor in tensors.items():
            if id(tensor) not in strange and tensor.requires_grad and self._trainable.get(path):
                continue  # held and trained as before: nothing is to be noted
            self._note_trainable(path, tensor)
            self._note_coverage(path, tensor)
        if changes != self._changes:
            self._tensors = {path: weakref.ref(tensor) for path, tensor in tensors.items()}
            self._changes = changes
        self._ties = ties

    def forget(self) -> None:
        """Forget which gradients backward has given in the window."""
        self._given.clear()

    def _without_gradient(self, parameter: Tensor) -> Coverage:
        if not parameter.requires_grad:
            return Coverage.HELD_FROZEN
        return Coverage.GRADIENT_TAKEN_AWAY if parameter in self._given else Coverage.HELD_WITHOUT_GRADIENT

    def _note_replaced(self, tensors: dict[str, Tensor], living: dict[int, str]) -> None:
        """Note paths at which another tensor lies than in the window before; the former one has no name any more."""
        for path, reference in self._tensors.items():
            before: Tensor | None = reference()
            now = tensors.get(path)
            if now is None or before is now:
                continue
            self._note(path, replaced_since=self._recording.clock.step)
            if before is not None and id(before) not in living:
                self._recording.naming.drop(before)

    def _note_untied(self, ties: dict[str, str], tensors: dict[str, Tensor]) -> None:
        for path, other in self._ties.items():
            if path not in ties and path in tensors and other in tensors:
                self._note(path, untied_from=other, replaced_since=self._recording.clock.step)

    def _note_trainable(self, path: str, parameter: Tensor) -> None:
        now, before = parameter.requires_grad, self._trainable.get(path)
        self._trainable[path] = now
        if before is not None and before != now:
            step = self._recording.clock.step
            self._note(path, trainable_since=step if now else None, frozen_since=None if now else step)

    def _note_coverage(self, path: str, parameter: Tensor) -> None:
        sites = self._recording.sites
        known = sites.coverage(path, Kind.PARAMETER)
        if not parameter.requires_grad:
            if known is not Coverage.HELD_FROZEN:
                sites.cannot_observe(ParameterSite(path=path), Coverage.FROZEN)
        elif parameter not in self._held and (known in _NOT_HELD or self._is_new(path, parameter)):
            reached = self._is_reached(parameter, known)
            coverage = Coverage.NOT_HELD_WITH_GRADIENT if reached else Coverage.NOT_HELD
            sites.cannot_observe(ParameterSite(path=path), coverage)

    def _is_reached(self, parameter: Tensor, known: Coverage | None) -> bool:
        """Return whether a backward pass gives a gradient; one may be left from before, as a teacher's training."""
        gradient = parameter.grad
        if gradient is None:
            return False
        before = self._seen.get(gradient)
        self._seen.set(gradient, gradient._version)
        return known is Coverage.NOT_HELD_WITH_GRADIENT or before != gradient._version

    def _is_new(self, path: str, parameter: Tensor) -> bool:
        """Return whether another tensor lay at this path in the window before."""
        reference = self._tensors.get(path)
        return reference is not None and reference() is not parameter

    def _note(self, path: str, **facts: int | str | None) -> None:
        self._recording.sites.set_facts(ParameterSite(path=path, coverage=Coverage.NOT_HELD), **facts)
