"""Which models train: those with parameters that an optimizer holds."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.module_tree import parameters


class TrainedModels:
    """The parameters that optimizers hold, as far as these have been seen to step or were given."""

    def __init__(self) -> None:
        self._held: Facts[Tensor, bool] = Facts()
        self._known: Facts[nn.Module, bool] = Facts()

    def note(self, held: Iterable[Tensor]) -> None:
        """Note what an optimizer holds."""
        for parameter in held:
            if parameter not in self._held:
                self._held.set(parameter, True)
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
