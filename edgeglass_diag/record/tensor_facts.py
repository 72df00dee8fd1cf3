"""What is known of living tensors, by identity: the one map from tensors to facts."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

from torch import Tensor

Fact = TypeVar("Fact")


class TensorFacts(Generic[Fact]):
    """One fact for each of some tensors, none of which it keeps alive.

    A tensor is known by its id and checked by a weak reference, as ids of the dead are given again.
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Tensor], Fact]] = {}

    def __bool__(self) -> bool:
        return bool(self._entries)

    def __contains__(self, tensor: Tensor) -> bool:
        entry = self._entries.get(id(tensor))
        return entry is not None and entry[0]() is tensor

    def get(self, tensor: Tensor) -> Fact | None:
        """Return the fact of a tensor, None where there is none."""
        entry = self._entries.get(id(tensor))
        return entry[1] if entry is not None and entry[0]() is tensor else None

    def set(self, tensor: Tensor, fact: Fact) -> None:
        """Note a fact in the place of an earlier one."""
        self._entries[id(tensor)] = weakref.ref(tensor), fact

    def remove(self, matching: Callable[[Fact], bool]) -> None:
        """Forget the facts for which ``matching`` is true."""
        self._entries = {key: entry for key, entry in self._entries.items() if not matching(entry[1])}

    def prune(self) -> None:
        """Forget tensors that are gone, and with them what their facts keep alive."""
        self._entries = {key: entry for key, entry in self._entries.items() if entry[0]() is not None}

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
