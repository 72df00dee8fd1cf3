"""Observes softmaxes over the samples of a batch, whose result weighs what lies along another dimension."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.module_stack import Frame
from edgeglass_diag.record.nested import arguments_in, tensors_in
from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.torch_functions import (
    CARRYING,
    LOG_SOFTMAX,
    LOGARITHMS,
    MATMULS,
    NEGATIVES,
    PRODUCTS,
    SCALING,
    SOFTMAX,
    TOTALS,
    bind,
)
from edgeglass_diag.sites import SoftmaxSite

_SIZES = (2, 3, 5, 7, 11, 13, 17, 19)
"""Different sizes of the dimensions of a tensor that stands for another one, to see where a function puts them."""

_LOSSES: tuple[Function, ...] = (functional.kl_div, functional.nll_loss, functional.cross_entropy)


class _Axis(NamedTuple):
    """Where the samples lie in what was made of a softmax over them, and the shape of the softmax itself."""

    dim: int
    shape: tuple[int, ...]


class SoftmaxAxisObserver(Observer):
    """Registers a softmax over the first dimension that weighs what lies along another one.

    A dimension is that of the samples where a model was given as many. A product of weights and values sums over the
    dimension of the values, a loss over that of the classes, and weights that are to be shares of a sum are normalised
    over what is summed. Contrastive logits, which have samples in both dimensions, are no such thing.

    Args:
        recording: state of the watch.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._axes: Facts[Tensor, _Axis] = Facts()
        self._batches: set[int] = set()

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed."""
        table: dict[Function, FunctionHandler] = dict.fromkeys((*SOFTMAX, *LOG_SOFTMAX), self._softmax)
        table |= dict.fromkeys((*CARRYING, *LOGARITHMS, *NEGATIVES), self._carry)
        table |= dict.fromkeys((*PRODUCTS, *MATMULS), self._product)
        table |= dict.fromkeys(SCALING, self._weigh)
        table |= dict.fromkeys(TOTALS, self._sum)
        return table | dict.fromkeys(_LOSSES, self._loss)

    def module_begins(self, outermost: Frame, arguments: tuple[Any, ...]) -> None:
        """Note how many samples a model is given."""
        if len(self._recording.stack.frames) == 1 and outermost.is_training:
            self._batches |= {len(given) for given in tensors_in(arguments) if _has_samples(given)}

    def forget(self) -> None:
        """Forget the tensors of the window."""
        self._axes.clear()
        self._batches.clear()

    def _softmax(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        logits, dim = given.get("input"), given.get("dim")
        if not isinstance(logits, Tensor) or not isinstance(result, Tensor) or logits.dim() < 2:
            return
        if dim is None:  # torch's choice where none is named
            dim = 0 if logits.dim() == 3 else 1
        if isinstance(dim, int) and dim % logits.dim() == 0 and len(logits) in self._batches:
            self._axes.set(result, _Axis(0, tuple(logits.shape)))

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
        if func is torch.einsum:
            summed = _summed_by_einsum(args)
        else:
            operands = arguments_in(args, kwargs)[-2:]
            summed = _summed_by_product(operands[::-1] if func in _TURNED else operands)
        for tensor, dims in summed:
            self._judge(tensor, dims)

    def _weigh(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if not self._axes or not isinstance(result, Tensor):
            return
        for tensor in arguments_in(args, kwargs):
            axis = self._axes.get(tensor)
            if axis is not None:
                self._axes.set(result, axis._replace(dim=axis.dim + result.dim() - tensor.dim()))
                return

    def _sum(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        dims = kwargs.get("dim", args[1] if len(args) > 1 else None)
        if self._axes and args and isinstance(args[0], Tensor) and isinstance(dims, (int, tuple, list)):
            self._judge(args[0], [dims] if isinstance(dims, int) else dims)

    def _loss(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if self._axes:
            given = bind(func, args, kwargs)
            for tensor in (given.get("input"), given.get("target")):
                if isinstance(tensor, Tensor) and tensor.dim() == 2:
                    self._judge(tensor, (1,))

    def _judge(self, tensor: Tensor, dims: Iterable[int]) -> None:
        """Register a softmax over samples where what it weighs is summed over these dimensions, others."""
        axis = self._axes.get(tensor)
        if axis is None:
            return
        summed = {dim % tensor.dim() for dim in dims}
        sizes = [tensor.shape[dim] for dim in summed]
        if axis.dim in summed or max(sizes, default=1) == 1:
            return
        if len(axis.shape) == 2 and not self._batches.isdisjoint(axis.shape[1:]):  # logits of pairs
            return
        path = self._recording.stack.path
        self._recording.sites.register_site(SoftmaxSite(path=path, shape=axis.shape))


_transposed: Any = Tensor
_TURNED = (Tensor.__rmatmul__,)
_PERMUTING: frozenset[Function] = frozenset(
    {
        Tensor.transpose, torch.transpose, Tensor.permute, torch.permute, Tensor.movedim, torch.movedim,
        _transposed.mT.__get__, _transposed.T.__get__, Tensor.unsqueeze, torch.unsqueeze, Tensor.squeeze, torch.squeeze,
    }
)  # fmt: skip


def _has_samples(given: Tensor) -> bool:
    return not given.is_nested and given.dim() > 0 and len(given) > 1


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


def _summed_by_product(operands: list[Tensor]) -> Iterator[tuple[Tensor, tuple[int, ...]]]:
    """Yield both operands of a matrix product with the dimension that it sums over."""
    if len(operands) == 2:
        yield operands[0], (-1,)
        yield operands[1], (-2,) if operands[1].dim() > 1 else (-1,)


def _summed_by_einsum(args: tuple[Any, ...]) -> Iterator[tuple[Tensor, tuple[int, ...]]]:
    """Yield the operands of an einsum with the dimensions that are not in its result; none of one with an ellipsis."""
    given = args[1] if len(args) == 2 and isinstance(args[1], (list, tuple)) else args[1:]
    if not isinstance(args[0], str) or "." in args[0] or "->" not in args[0]:
        return
    inputs, _, output = args[0].replace(" ", "").partition("->")
    for labels, tensor in zip(inputs.split(","), given, strict=False):
        if isinstance(tensor, Tensor):
            yield tensor, tuple(place for place, label in enumerate(labels) if label not in output)
