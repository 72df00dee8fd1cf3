"""Observes where initial values come from: every write to a parameter before the first step, with file and line."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

import torch
from torch import Tensor, UntypedStorage
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.parameter import Parameter

from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.shards import is_foreign, local_part
from edgeglass_diag.record.torch_functions import (
    DERIVING,
    FACTORIES,
    FILLS,
    RANDOM_FACTORIES,
    RANDOM_FILLS,
    bind,
)
from edgeglass_diag.records import LOADING, ParameterOrigin, ParameterWrite

_TORCH = os.path.dirname(torch.__file__) + os.sep
_HERE = os.path.dirname(__file__) + os.sep
_SHARDING = os.path.join(_TORCH, "distributed", "fsdp") + os.sep
_MAX_ELEMENTS = 2**24


class ProvenanceObserver(Observer):
    """Follows storages from the call that made them to the parameters they become, until the first step.

    Of a model that is built later it does so again, until the step after that. The shard of a parameter that FSDP2 cuts
    has the history of the whole.

    Args:
        recording: state of the watch.

    Attributes:
        is_open: whether initial values are followed now.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.is_open = True
        self._told: Facts[Tensor, bool] = Facts()
        self._origins: tuple[ParameterOrigin, ...] | None = None
        self._histories: dict[int, tuple[StorageWeakRef, list[ParameterWrite]]] = {}

    @property
    def functions_in_any_phase(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed; none while no model is built."""
        if not self.is_open:
            return {}
        table: dict[Function, FunctionHandler] = dict.fromkeys(RANDOM_FACTORIES + FACTORIES, self._made)
        table |= dict.fromkeys(RANDOM_FILLS + FILLS, self._written)
        return table | dict.fromkeys(DERIVING, self._derived)

    @property
    def origins(self) -> tuple[ParameterOrigin, ...]:
        """The history of every parameter that is new, at the end of a window; nothing of one in which none is built."""
        if self._origins is None:
            self._origins = self._all_origins()
        return self._origins

    def begin(self) -> None:
        """Follow the initial values of what is built from now on."""
        self.is_open, self._origins = True, None

    def end(self) -> None:
        """Forget all histories: what is written from now on is training."""
        self.is_open, self._origins = False, ()
        self._histories.clear()

    def _all_origins(self) -> tuple[ParameterOrigin, ...]:
        found = []
        for name, parameter in self._recording.naming.named_parameters:
            if parameter in self._told:
                continue
            self._told.set(parameter, True)
            writes = () if is_foreign(parameter) else tuple(self._history(parameter) or ())
            std = writes[-1].std if writes else _std(parameter)
            found.append(ParameterOrigin(name, tuple(parameter.shape), std, writes))
        return tuple(found)

    def _building(self) -> bool:
        """Return whether no module is running, so that arithmetic on weights is construction."""
        return not self._recording.stack.frames

    def _history(self, tensor: Tensor) -> list[ParameterWrite] | None:
        entry = self._histories.get(_storage(tensor)._cdata)
        return None if entry is None or entry[0].expired() else entry[1]

    def _begin(self, tensor: Tensor, writes: list[ParameterWrite]) -> None:
        storage = _storage(tensor)
        if len(self._histories) > 4096:
            self._histories = {k: v for k, v in self._histories.items() if not v[0].expired()}
        self._histories[storage._cdata] = (StorageWeakRef(storage), writes)

    def _made(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if isinstance(result, Tensor) and result.is_floating_point() and self._building():
            self._begin(result, [_write(func, result, random=func in RANDOM_FACTORIES)])

    def _written(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        target, copied = given["tensor"], given.get("source")
        source = self._history(copied) if isinstance(copied, Tensor) else None
        if source and _is_sharding():
            self._begin(target, source)
            return
        history = self._history(target) if target.is_floating_point() else None
        if history is None:
            if target.is_floating_point() and func in RANDOM_FILLS and self._building():
                self._begin(target, [_write(func, target, random=True)])
            return
        random = func in RANDOM_FILLS or bool(source and source[-1].random)
        write = _write(func, target, random=random)
        last = history[-1]
        if (write.op, write.file, write.line) == (last.op, last.file, last.line):
            history[-1] = _merged(last, write)
        else:
            history.append(write)

    def _derived(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if not self._histories or not self._building() or not isinstance(result, Tensor):
            return
        for source in args[:2]:
            history = self._history(source) if isinstance(source, Tensor) else None
            if history is not None and self._history(result) is not history:
                last = history[-1]
                scaled = ParameterWrite(last.op, last.file, last.line, _std(result), last.random, last.default)
                self._begin(result, [*history[:-1], scaled])
                return


def _merged(last: ParameterWrite, write: ParameterWrite) -> ParameterWrite:
    return ParameterWrite(
        write.op, write.file, write.line, write.std, last.random or write.random, write.default, write.partial
    )


def _write(func: Function, tensor: Tensor, *, random: bool) -> ParameterWrite:
    frame: FrameType | None = sys._getframe(1)
    op, default = func.__name__, False
    while frame is not None:
        file = frame.f_code.co_filename
        if file == _TORCH + "nn/init.py" and not frame.f_code.co_name.startswith("_"):
            op = frame.f_code.co_name
        elif file.startswith(_TORCH + "nn/modules/"):
            default = True
            if frame.f_code.co_name in ("load_state_dict", "_load_from_state_dict"):
                op = LOADING
        if not file.startswith((_TORCH, _HERE)) and not file.startswith("<"):
            break
        frame = frame.f_back
    place = (frame.f_code.co_filename, frame.f_lineno) if frame is not None else ("unknown", 0)
    partial = tensor.numel() * tensor.element_size() < tensor.untyped_storage().nbytes()
    return ParameterWrite(op, *place, _std(tensor), random, default, partial)


def _storage(tensor: Tensor) -> UntypedStorage:
    """Return the memory that holds the values of a tensor here; of a DTensor that of its local part."""
    is_local = type(tensor) in (Tensor, Parameter) or is_foreign(tensor)
    return (tensor if is_local else local_part(tensor)).untyped_storage()


def _is_sharding() -> bool:
    """Return whether the call that is observed is one of torch's, which cuts a parameter into shards."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((_TORCH, _HERE, "<")):
        if frame.f_code.co_filename.startswith(_SHARDING):
            return True
        frame = frame.f_back
    return False


def _std(tensor: Tensor) -> float:
    """Return the standard deviation, of at most 2^24 entries; 0 for one entry, NaN on the meta device."""
    if is_foreign(tensor) or tensor.device.type == "meta" or not tensor.is_floating_point() or tensor.numel() == 0:
        return float("nan")
    flat = local_part(tensor).reshape(-1)[:_MAX_ELEMENTS].float()
    return float(flat.std(correction=0))
