"""What models have given out without gradients in a window, and whether something made of it goes backward."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from torch import Tensor, nn

from edgeglass_diag.record.derivations import Origin, behind
from edgeglass_diag.record.tensor_sources import TensorSources

_MOST = 4096
"""About as many tensors as are followed in a window: generation makes millions."""


class GivenOut:
    """Follows what outermost calls of models without gradients, trained or not, have given out.

    Args:
        sources: what tensors of the watch come from.
    """

    def __init__(self, sources: TensorSources) -> None:
        self._sources = sources
        self._models: dict[Origin, int] = {}  # by what was given out
        self._losses: list[Origin] = []
        self._backward: set[int] | None = None

    def __bool__(self) -> bool:
        """Return whether anything was given out."""
        return bool(self._models)

    def add(self, module: nn.Module, tensors: Iterable[Tensor]) -> None:
        """Mark what a call of a model has given out."""
        if len(self._models) < _MOST:
            self._models |= {self._sources.mark(tensor): id(module) for tensor in tensors}
            self._backward = None

    def note_backward(self, tensors: Iterable[Tensor]) -> None:
        """Keep what goes backward."""
        self._losses += (origin for tensor in tensors if (origin := self._sources.origin(tensor)) is not None)
        self._backward = None

    def goes_backward(self, models: Collection[int]) -> bool:
        """Return whether something that goes backward was made of what one of these models, by id, has given out."""
        if self._backward is None:
            self._backward = {self._models[origin] for origin in behind(self._losses) if origin in self._models}
        return not self._backward.isdisjoint(models)

    def is_behind(self, tensors: Iterable[Tensor], models: Collection[int]) -> bool:
        """Return whether these tensors were made of what one of these models, by id, has given out."""
        origins = [origin for tensor in tensors if (origin := self._sources.origin(tensor)) is not None]
        return any(self._models.get(origin) in models for origin in behind(origins))

    def clear(self) -> None:
        """Forget all of it at the end of a window."""
        self._models.clear()
        self._losses.clear()
        self._backward = None
