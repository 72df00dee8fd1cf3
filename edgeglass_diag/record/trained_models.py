"""Which models train, and in which mode: those with parameters that an optimizer holds."""

from __future__ import annotations

import weakref
from collections.abc import Iterable

from torch import Tensor, nn

from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.module_tree import modules, parameters
from edgeglass_diag.record.rounds import held_by, living_optimizers

_SEARCHES = 4
"""How often optimizers that have not stepped are searched for."""


class TrainedModels:
    """The parameters that optimizers hold, as far as these have been seen to step or were given.

    Attributes:
        in_either_mode: whether passes in evaluation mode are parts of training steps as well.
    """

    def __init__(self) -> None:
        self._held: Facts[Tensor, bool] = Facts()
        self._known: Facts[nn.Module, bool] = Facts()
        self._candidates: list[weakref.ref[nn.Module]] = []
        self._searches = 0
        self._in_training_mode: Facts[nn.Module, bool] = Facts()  # models and their parts
        self.in_either_mode = False

    def note(self, held: Iterable[Tensor]) -> None:
        """Note what an optimizer holds."""
        new = self._held.unknown(held)
        if new:
            self._held.set_each(new, True)
            self._known.clear()

    def forget(self) -> None:
        """Forget which models train: parameters are frozen and unfrozen from one window to the next."""
        self._known.clear()

    def has(self, module: nn.Module) -> bool:
        """Return whether a parameter of a module is held by an optimizer and trained: not so of a momentum teacher."""
        known = self._known.get(module)
        if known is None:
            known = any(parameter in self._held for parameter in parameters(module) if parameter.requires_grad)
            self._known.set(module, known)
        return known

    def may_have(self, module: nn.Module) -> bool:
        """Return the same also before the first step, when the optimizers are asked that are alive.

        As long as there is none, each model may be one that trains: whether it was, ``was_mistaken`` tells later.
        """
        if self._held:
            return self.has(module)
        if any(reference() is module for reference in self._candidates):
            return True
        if self._searches == _SEARCHES or not any(parameter.requires_grad for parameter in parameters(module)):
            return False
        self._searches += 1
        living = [*living_optimizers()]
        for optimizer in living:
            self.note(held_by(optimizer))
        if not living:
            self._candidates.append(weakref.ref(module))
        return not living or self.has(module)

    @property
    def was_mistaken(self) -> bool:
        """Whether a model that was called before there was an optimizer turns out not to train."""
        known = [reference() for reference in self._candidates]
        return not all(module is not None and self.has(module) for module in known)

    def forget_candidates(self) -> None:
        """Forget which models were called before there was an optimizer."""
        self._candidates.clear()

    def note_mode(self, module: nn.Module) -> None:
        """Note the mode in which a model is called with gradients."""
        if module.training and not self._in_training_mode.get(module):
            self._in_training_mode.remove(lambda known: not known)
            self._in_training_mode.set(module, True)

    def leaves_training(self, module: nn.Module) -> bool:
        """Return whether a model is in evaluation mode that trains in training mode, so that no step is to follow."""
        if self.in_either_mode or module.training or not self.has(module):
            return False
        known = self._in_training_mode.get(module)
        if known is None:
            known = any(module is part for model, _ in self._in_training_mode.items() for part in modules(model))
            self._in_training_mode.set(module, known)
        return known
