"""Observes reshapes around attention that scramble its operands or its outputs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn import functional

from edgeglass_diag.measures.reshapes import scrambles
from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.nested import arguments_in
from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.torch_functions import CARRYING, FUSED_ATTENTION, PRODUCTS, RESHAPES, SCALING, SOFTMAX
from edgeglass_diag.sites import ReshapeSite


class _Scrambled(NamedTuple):
    """A reshape that mixes elements of different positions: the shapes that went in and came out."""

    before: tuple[int, ...]
    after: tuple[int, ...]


class _Role(Enum):
    WEIGHTS = auto()
    OUTPUT = auto()


_Mark = _Role | _Scrambled
"""What a tensor is: attention weights, an attention's output, or the result of a scrambling reshape."""


class ReshapeObserver(Observer):
    """Registers a reshape site in the module where attention meets a scrambled tensor.

    Only what goes into the products of an attention, or comes out of them, is followed: elsewhere sizes may agree by
    chance, as groups of a normalisation and the height of a map.

    Args:
        recording: state of the watch.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._marks: Facts[Tensor, _Mark] = Facts()

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed."""
        table: dict[Function, FunctionHandler] = dict.fromkeys((*CARRYING, *SCALING), self._carry)
        table |= dict.fromkeys(RESHAPES, self._reshape)
        table |= dict.fromkeys(SOFTMAX, self._softmax)
        table |= dict.fromkeys((*PRODUCTS, FUSED_ATTENTION), self._product)
        return table

    def forget(self) -> None:
        """Forget the tensors of the window."""
        self._marks.clear()

    def _mark(self, tensor: Any, mark: _Mark | None) -> None:
        if mark is not None and isinstance(tensor, Tensor):
            self._marks.set(tensor, mark)

    def _softmax(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self._mark(result, _Role.WEIGHTS)

    def _carry(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        others = [t for t in arguments_in(args[1:], kwargs) if t.is_floating_point() and t.numel() > 1]
        if args and not others and isinstance(args[0], Tensor):
            self._mark(result, self._marks.get(args[0]))

    def _reshape(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if not args or not isinstance(args[0], Tensor) or not isinstance(result, Tensor):
            return
        mark = self._marks.get(args[0])
        if result.is_floating_point() and scrambles(args[0].shape, result.shape):
            scrambled = _Scrambled(tuple(args[0].shape), tuple(result.shape))
            if mark is _Role.OUTPUT:
                self._found(scrambled)
            mark = scrambled
        self._mark(result, mark)

    def _product(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        marks = [self._marks.get(tensor) for tensor in arguments_in(args, kwargs)]
        for mark in marks:
            if isinstance(mark, _Scrambled):
                self._found(mark)
        if _Role.WEIGHTS in marks or func is FUSED_ATTENTION:
            self._mark(result, _Role.OUTPUT)

    def _found(self, reshape: _Scrambled) -> None:
        if _in_torch_attention():
            return
        path = self._recording.stack.path
        self._recording.sites.register_site(ReshapeSite(path=path, before=reshape.before, after=reshape.after))


def _in_torch_attention() -> bool:
    """Return whether this is within torch's multi-head attention, which merges heads into the batch as it should."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not functional.multi_head_attention_forward.__code__:
        frame = frame.f_back  # type: ignore[assignment]
    return frame is not None
