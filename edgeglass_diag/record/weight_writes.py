"""Whether weights have been written to: by the counts that torch keeps, and as functions that write are called."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from edgeglass_diag.record.nested import tensors_in
from edgeglass_diag.record.observer import Function

_data: Any = Tensor.data
_SET_DATA: Function = _data.__set__
_NO_WRITES = frozenset({"requires_grad_", "detach_", "share_memory_", "rename_"})
_IN_PLACE = {name for name in (*dir(Tensor), *dir(torch)) if name[-1:] == "_" and name[-2:] != "__"} - _NO_WRITES

WRITING: Final[frozenset[Function]] = frozenset(
    function
    for owner in (Tensor, torch)
    for name in (*_IN_PLACE, "__setitem__")
    if callable(function := getattr(owner, name, None))
) | {_SET_DATA}
"""Functions that write to their first argument, or to each tensor of it."""


@dataclass(frozen=True, slots=True)
class _Noted:
    """A weight as it was: how often it had been written to, and where its values lay."""

    weight: weakref.ref[Tensor]
    version: int
    place: int
    storage: int

    @property
    def is_changed(self) -> bool:
        """Whether it has been written to since, or has other memory."""
        weight = self.weight()
        return weight is not None and (weight._version != self.version or weight.data_ptr() != self.place)


class WeightWrites:
    """What was written of some weights since they were noted.

    A write to a weight is counted by torch, whoever makes it, as a compiled function or a kernel; one by way of
    ``.data`` is not, and is seen where the function that writes is (``follow``). Nothing here waits for the device.
    """

    def __init__(self) -> None:
        self._noted: list[_Noted] = []
        self._storages: set[int] = set()
        self._written: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._noted)

    def note(self, weights: Iterable[Tensor]) -> None:
        """Look at these weights from now on, and at no others."""
        self._noted = [
            _Noted(weakref.ref(w), w._version, w.data_ptr(), w.untyped_storage().data_ptr()) for w in weights
        ]
        self._storages = {noted.storage for noted in self._noted}
        self._written.clear()

    def clear(self) -> None:
        """Look at no weight any more."""
        self.note(())

    def follow(self, func: Function, target: object) -> bool:
        """Take note that one of ``WRITING`` was called with its first argument, and return whether that is a weight."""
        if func == _SET_DATA:
            return any(noted.weight() is target for noted in self._noted)
        dense = (tensor for tensor in tensors_in([target]) if tensor.layout == torch.strided)
        found = self._storages.intersection(tensor.untyped_storage().data_ptr() for tensor in dense)
        self._written |= found
        return bool(found)

    @property
    def written(self) -> list[Tensor]:
        """The weights that have been written to, or whose memory has."""
        changed = [noted for noted in self._noted if noted.storage in self._written or noted.is_changed]
        return [weight for noted in changed if (weight := noted.weight()) is not None]
