"""Observes reshapes around attention that scramble its operands or its outputs."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from edgeglass_diag.measures.reshapes import scrambles
from edgeglass_diag.record.attention import CARRYING, PRODUCTS, SCALING, SOFTMAX
from edgeglass_diag.record.functions import Function, Observer
from edgeglass_diag.record.session import Session
from edgeglass_diag.record.tensor_sources import tensors_in

_RESHAPES: tuple[Function, ...] = (Tensor.view, Tensor.reshape, torch.reshape)
_WEIGHTS, _OUTPUT = "weights", "output"


class _Mark(NamedTuple):
    """What a tensor is: attention weights, an attention's output, or scrambled, and then how."""

    tensor: weakref.ref[Tensor]
    what: str


class LayoutTap:
    """Observers that note a site ``reshape`` in the module where attention meets a scrambled tensor.

    Only what goes into the products of an attention, or comes out of them, is followed: elsewhere sizes may agree by
    chance, as groups of a normalisation and the height of a map.

    Args:
        session: state of the watch.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._marks: dict[int, _Mark] = {}

    @property
    def observers(self) -> Mapping[Function, Observer]:
        """The functions observed."""
        table: dict[Function, Observer] = dict.fromkeys((*CARRYING, *SCALING), self._carry)
        table |= dict.fromkeys(_RESHAPES, self._reshape)
        table |= dict.fromkeys(SOFTMAX, self._softmax)
        table |= dict.fromkeys((*PRODUCTS, functional.scaled_dot_product_attention), self._product)
        return table

    def end_window(self) -> None:
        """Forget the tensors of the window."""
        self._marks.clear()

    def _mark(self, tensor: Any, what: str) -> None:
        if what and isinstance(tensor, Tensor):
            self._marks[id(tensor)] = _Mark(weakref.ref(tensor), what)

    def _what(self, tensor: Any) -> str:
        mark = self._marks.get(id(tensor))
        return mark.what if mark is not None and mark.tensor() is tensor else ""

    def _softmax(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self._mark(result, _WEIGHTS)

    def _carry(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        others = [t for t in tensors_in([args[1:], kwargs]) if t.is_floating_point() and t.numel() > 1]
        if args and not others:
            self._mark(result, self._what(args[0]))

    def _reshape(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if not args or not isinstance(args[0], Tensor) or not isinstance(result, Tensor):
            return
        what = self._what(args[0])
        if result.is_floating_point() and scrambles(args[0].shape, result.shape):
            how = f"{_shape(args[0])} -> {_shape(result)}"
            if what == _OUTPUT:
                self._tell(how)
            what = how
        self._mark(result, what)

    def _product(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        marks = [self._what(tensor) for tensor in tensors_in([args, kwargs])]
        for mark in marks:
            if mark not in ("", _WEIGHTS, _OUTPUT):
                self._tell(mark)
        if _WEIGHTS in marks or func is functional.scaled_dot_product_attention:
            self._mark(result, _OUTPUT)

    def _tell(self, how: str) -> None:
        if _in_torchs_own():
            return
        path = self._session.stack[-1].site if self._session.stack else ""
        self._session.see(path, "reshape", label=how)


def _in_torchs_own() -> bool:
    """Within torch's multi-head attention, which merges heads into the batch and is right whatever the sizes."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not functional.multi_head_attention_forward.__code__:
        frame = frame.f_back  # type: ignore[assignment]
    return frame is not None


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape))
