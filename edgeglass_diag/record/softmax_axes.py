"""Observes softmaxes over the samples of a batch, whose result weighs what lies along another dimension."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.given_batches import GivenBatches
from edgeglass_diag.record.nested import arguments_in, tensors_in
from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.torch_functions import (
    CARRYING,
    LOG_SOFTMAX,
    PRODUCTS,
    SCALING,
    SOFTMAX,
    TOTALS,
    bind,
)
from edgeglass_diag.sites import SoftmaxSite

_SIZES = (2, 3, 5, 7, 11, 13, 17, 19)
"""Different sizes of the dimensions of a tensor that stands for another one, to see where a function puts them."""


class _Axis(NamedTuple):
    """Where the samples lie in what was made of a softmax over them.

    Attributes:
        dim: their dimension.
        shape: of the softmax.
        is_log: whether it is the logarithm of the softmax.
        is_weighted: whether values were multiplied with it, so that a sum is one of weighted values.
        path: of the module in which weighted values were summed over another dimension; None where they were not.
    """

    dim: int
    shape: tuple[int, ...]
    is_log: bool = False
    is_weighted: bool = False
    path: str | None = None


class SoftmaxAxisObserver(Observer):
    """Registers a softmax over the first dimension that weighs what lies along another one.

    A dimension is that of the samples where a model was given as many. A product of weights and values sums over the
    dimension of the values, a loss over that of the classes, and weights that are to be shares of a sum are normalised
    over what is summed. Contrastive logits, which have samples in both dimensions, are no such thing; nor are weights
    that are divided by sums of their own, one weight for each sample, and values that are summed over samples behind.

    Args:
        recording: state of the watch.
        batches: what the model is given.
    """

    def __init__(self, recording: Recording, batches: GivenBatches) -> None:
        self._recording, self._batches = recording, batches
        self._axes: Facts[Tensor, _Axis] = Facts()
        self._summed: list[_Axis] = []

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed."""
        table: dict[Function, FunctionHandler] = dict.fromkeys((*SOFTMAX, *LOG_SOFTMAX), self._softmax)
        table |= dict.fromkeys(CARRYING, self._carry)
        table |= dict.fromkeys(PRODUCTS, self._product)
        table |= dict.fromkeys(SCALING, self._weigh)
        table |= dict.fromkeys(TOTALS, self._sum)
        return table | {functional.nll_loss: self._picked}

    def window_ends(self) -> None:
        """Register what was summed over another dimension, and not over the samples behind that."""
        for axis in self._summed:
            site = SoftmaxSite(path=axis.path or "", shape=axis.shape)
            self._recording.sites.register_site(site)

    def forget(self) -> None:
        """Forget the tensors of the window."""
        self._axes.clear()
        self._summed.clear()

    def _softmax(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        logits, dim = given.get("input"), given.get("dim")
        if not isinstance(logits, Tensor) or not isinstance(result, Tensor) or logits.dim() < 2:
            return
        is_named = dim is not None
        if not is_named:  # torch's choice
            dim = 0 if logits.dim() == 3 else 1
        if not isinstance(dim, int) or dim % logits.dim() or logits.numel() == len(logits):
            return
        if self._are_samples(len(logits), folded=not is_named) and not self._are_pairs(logits):
            self._axes.set(result, _Axis(0, tuple(logits.shape), is_log=func in LOG_SOFTMAX))

    def _are_samples(self, size: int, *, folded: bool) -> bool:
        """Return whether a dimension is that of the samples, or of samples and heads where none was named."""
        return size in self._batches.sizes or (folded and any(size % batch == 0 for batch in self._batches.sizes))

    def _are_pairs(self, logits: Tensor) -> bool:
        known = self._recording.sources.product(logits) is not None or not self._batches.sizes.isdisjoint(
            logits.shape[1:]
        )
        return logits.dim() == 2 and known

    def _carry(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        axis = self._axes.get(args[0]) if self._axes and args and isinstance(args[0], Tensor) else None
        if axis is None or not isinstance(result, Tensor):
            return
        if any(other.numel() > 1 for other in tensors_in(args[1:]) if other.is_floating_point()):
            return  # divided by sums of their own
        dim = _moved(func, args, kwargs, axis.dim)
        if dim is None and result.shape == args[0].shape and func not in _PERMUTING:
            dim = axis.dim
        if dim is not None and dim < result.dim() and result.shape[dim] == args[0].shape[axis.dim]:
            self._axes.set(result, axis._replace(dim=dim))

    def _product(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if not self._axes:
            return
        pairs = _batched_by_einsum(args) if func is torch.einsum else _batched(arguments_in(args, kwargs)[-2:])
        for weights, other, dims in pairs:
            axis = self._axes.get(weights)
            if axis is None or axis.dim not in dims or axis.is_weighted or axis.is_log:
                continue
            if self._axes.get(other) is None:
                self._note(axis)

    def _weigh(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        tensors = arguments_in(args, kwargs) if self._axes else []
        known = [(tensor, axis) for tensor in tensors if (axis := self._axes.get(tensor)) is not None]
        if len(known) == 1 and len(tensors) == 2 and isinstance(result, Tensor) and result.dim() > 2:
            (weights, axis), other = known[0], tensors[tensors[0] is known[0][0]]
            dim = axis.dim + result.dim() - weights.dim()
            if not axis.is_log and other.dim() == result.dim() and other.shape[dim] == weights.shape[axis.dim]:
                self._axes.set(result, axis._replace(dim=dim, is_weighted=True))

    def _sum(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        axis = self._axes.get(args[0]) if self._axes and args and isinstance(args[0], Tensor) else None
        if axis is None or not axis.is_weighted:
            return
        given = kwargs.get("dim", args[1] if len(args) > 1 else None)
        dims = range(args[0].dim()) if given is None else [given] if isinstance(given, int) else given
        summed = {dim % args[0].dim() for dim in dims}
        if axis.dim in summed:
            self._summed = [each for each in self._summed if each.shape != axis.shape]
        elif math.prod(args[0].shape[dim] for dim in summed) > 1 and isinstance(result, Tensor):
            self._note(axis)
            keeps = result.dim() == args[0].dim()
            dim = axis.dim - (0 if keeps else sum(other < axis.dim for other in summed))
            self._axes.set(result, axis._replace(dim=dim))

    def _picked(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs).get("input") if self._axes else None
        axis = self._axes.get(given) if isinstance(given, Tensor) and given.dim() == 2 else None
        if axis is not None and axis.dim == 0:
            self._note(axis)

    def _note(self, axis: _Axis) -> None:
        self._summed.append(axis._replace(path=self._recording.stack.path))


_transposed: Any = Tensor
_PERMUTING: frozenset[Function] = frozenset(
    {
        Tensor.transpose, torch.transpose, Tensor.permute, torch.permute, Tensor.movedim, torch.movedim,
        _transposed.mT.__get__, _transposed.T.__get__, Tensor.unsqueeze, torch.unsqueeze, Tensor.squeeze, torch.squeeze,
    }
)  # fmt: skip


def _moved(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], dim: int) -> int | None:
    """Return where a function that permutes dimensions puts one; None of other functions, and where it goes.

    >>> _moved(torch.permute, (torch.zeros(2, 4, 4), (2, 0, 1)), {}, 0), _moved(torch.clone, (torch.zeros(2),), {}, 0)
    (1, None)
    """
    if func not in _PERMUTING or args[0].dim() > len(_SIZES):
        return None
    # Dimensions of one entry keep it, so that a squeeze sees them.
    sizes = [size if given > 1 else 1 for size, given in zip(_SIZES, args[0].shape, strict=False)]
    if sizes[dim] == 1:
        return None
    with torch._C.DisableTorchFunction():
        shape = list(func(torch.empty(sizes, device="meta"), *args[1:], **kwargs).shape)
    return shape.index(sizes[dim]) if sizes[dim] in shape else None


_Batched = tuple[Tensor, Tensor, tuple[int, ...]]
"""Weights, what they are multiplied with, and the dimensions of the weights that both and the result have."""


def _batched(operands: list[Tensor]) -> Iterator[_Batched]:
    """Yield both operands of a product of batches of matrices."""
    if len(operands) == 2 and operands[0].dim() == operands[1].dim() > 2:
        dims = tuple(
            dim
            for dim, sizes in enumerate(zip(*(each.shape[:-2] for each in operands), strict=True))
            if sizes[0] == sizes[1]
        )
        if operands[0].shape[-1] > 1:
            yield operands[0], operands[1], dims
            yield operands[1], operands[0], dims


def _batched_by_einsum(args: tuple[Any, ...]) -> Iterator[_Batched]:
    """Yield the operands of an einsum of two; none of one with an ellipsis."""
    given = args[1] if len(args) == 2 and isinstance(args[1], (list, tuple)) else args[1:]
    if not isinstance(args[0], str) or "." in args[0] or "->" not in args[0] or len(given) != 2:
        return
    inputs, _, output = args[0].replace(" ", "").partition("->")
    labels = inputs.split(",")
    summed = set("".join(labels)) - set(output)
    if not summed or not all(isinstance(each, Tensor) for each in given):
        return
    for own, other in ((0, 1), (1, 0)):
        dims = tuple(place for place, label in enumerate(labels[own]) if label in labels[other] and label in output)
        yield given[own], given[other], dims
