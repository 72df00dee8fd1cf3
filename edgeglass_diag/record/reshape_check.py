"""Observes reshapes around attention that scramble its operands or its outputs."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from edgeglass_diag.measures.reshapes import scrambles
from edgeglass_diag.record.attention import CARRYING, PRODUCTS, SCALING, SOFTMAX
from edgeglass_diag.record.functions import Function, Observer
from edgeglass_diag.record.session import Session
from edgeglass_diag.record.tensor_sources import tensors_in
from edgeglass_diag.sites import ReshapeSite

_RESHAPES: tuple[Function, ...] = (Tensor.view, Tensor.reshape, torch.reshape)


class _Scrambled(NamedTuple):
    """A reshape that mixes elements of different positions: the shapes that went in and came out."""

    before: tuple[int, ...]
    after: tuple[int, ...]


class _Role(Enum):
    WEIGHTS = auto()
    OUTPUT = auto()


class _Mark(NamedTuple):
    """What a tensor is: attention weights, an attention's output, or the result of a scrambling reshape."""

    tensor: weakref.ref[Tensor]
    what: _Role | _Scrambled


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

    def _mark(self, tensor: Any, what: _Role | _Scrambled | None) -> None:
        if what is not None and isinstance(tensor, Tensor):
            self._marks[id(tensor)] = _Mark(weakref.ref(tensor), what)

    def _what(self, tensor: Any) -> _Role | _Scrambled | None:
        mark = self._marks.get(id(tensor))
        return mark.what if mark is not None and mark.tensor() is tensor else None

    def _softmax(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self._mark(result, _Role.WEIGHTS)

    def _carry(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        others = [t for t in tensors_in([args[1:], kwargs]) if t.is_floating_point() and t.numel() > 1]
        if args and not others:
            self._mark(result, self._what(args[0]))

    def _reshape(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if not args or not isinstance(args[0], Tensor) or not isinstance(result, Tensor):
            return
        what = self._what(args[0])
        if result.is_floating_point() and scrambles(args[0].shape, result.shape):
            scrambled = _Scrambled(tuple(args[0].shape), tuple(result.shape))
            if what is _Role.OUTPUT:
                self._found(scrambled)
            what = scrambled
        self._mark(result, what)

    def _product(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        marks = [self._what(tensor) for tensor in tensors_in([args, kwargs])]
        for mark in marks:
            if isinstance(mark, _Scrambled):
                self._found(mark)
        if _Role.WEIGHTS in marks or func is functional.scaled_dot_product_attention:
            self._mark(result, _Role.OUTPUT)

    def _found(self, reshape: _Scrambled) -> None:
        if _in_torchs_own():
            return
        path = self._session.stack[-1].site if self._session.stack else ""
        self._session.sites.register_site(ReshapeSite(path=path, before=reshape.before, after=reshape.after))


def _in_torchs_own() -> bool:
    """Within torch's multi-head attention, which merges heads into the batch and is right whatever the sizes."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not functional.multi_head_attention_forward.__code__:
        frame = frame.f_back  # type: ignore[assignment]
    return frame is not None
