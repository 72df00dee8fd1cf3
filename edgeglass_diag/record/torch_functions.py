"""The functions of torch that observers know, by what they do, and the one way to bind their arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeglass_diag.record.observer import Function

_MT: Function = Tensor.mT.__get__  # type: ignore[attr-defined]

FUSED_ATTENTION: Function = torch._C._nn.scaled_dot_product_attention
"""Not looked up in ``torch.nn.functional``, where a program may have put a function of its own that calls this one."""

SOFTMAX: tuple[Function, ...] = (functional.softmax, torch.softmax, Tensor.softmax, torch.special.softmax)
LOG_SOFTMAX: tuple[Function, ...] = (functional.log_softmax, torch.log_softmax, Tensor.log_softmax)
LOGSUMEXP: tuple[Function, ...] = (torch.logsumexp, Tensor.logsumexp, torch.special.logsumexp)
LOGARITHMS: tuple[Function, ...] = (torch.log, Tensor.log)
LOGARITHMS_OF_ONE_MORE: tuple[Function, ...] = (torch.log1p, Tensor.log1p, torch.special.log1p)
EXPONENTIALS: tuple[Function, ...] = (torch.exp, Tensor.exp)

MATMULS: tuple[Function, ...] = (torch.matmul, torch.mm, Tensor.matmul, Tensor.mm, Tensor.__matmul__)
"""Products of two matrices, as contrastive logits are."""
BIASED_PRODUCTS: tuple[Function, ...] = (torch.baddbmm, Tensor.baddbmm)
PRODUCTS: tuple[Function, ...] = (
    torch.matmul, torch.bmm, torch.einsum, Tensor.matmul, Tensor.bmm, Tensor.__matmul__, Tensor.__rmatmul__,
    *BIASED_PRODUCTS,
)  # fmt: skip
"""Products that attention is written with: logits of queries and keys, and weights with values."""
SCALING: tuple[Function, ...] = (torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__)
SUMS: tuple[Function, ...] = (torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__)
FILLING: tuple[Function, ...] = (torch.masked_fill, Tensor.masked_fill)
RESHAPES: tuple[Function, ...] = (Tensor.view, Tensor.reshape, torch.reshape)
CARRYING: tuple[Function, ...] = (
    functional.dropout, torch.dropout, Tensor.to, Tensor.type_as, Tensor.float, Tensor.half, Tensor.bfloat16,
    Tensor.double, *RESHAPES, Tensor.flatten, torch.flatten, Tensor.unflatten,
    Tensor.squeeze, torch.squeeze, Tensor.unsqueeze, torch.unsqueeze, Tensor.transpose, torch.transpose,
    Tensor.permute, torch.permute, Tensor.movedim, torch.movedim, _MT,
    Tensor.contiguous, Tensor.clone, Tensor.__getitem__, *FILLING, torch.nan_to_num,
    Tensor.nan_to_num, Tensor.div, torch.div, Tensor.__truediv__,
)  # fmt: skip
"""Functions after which a tensor is still what it was: attention weights, say."""

OFF_BY_DEFAULT: tuple[Function, ...] = (functional.alpha_dropout, functional.feature_alpha_dropout)
"""Dropouts that do nothing unless ``training`` is given."""
DROPOUTS: tuple[Function, ...] = (
    functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d, *OFF_BY_DEFAULT,
    torch.dropout, torch.alpha_dropout, torch.feature_dropout, torch.feature_alpha_dropout,
)  # fmt: skip

CONVOLUTIONS: tuple[Function, ...] = (functional.conv1d, functional.conv2d, functional.conv3d)
MIXING: frozenset[Function] = frozenset(
    {
        *MATMULS, *PRODUCTS, torch.addmm, torch.addmv, torch.mv, Tensor.mv, functional.linear, functional.bilinear,
        *CONVOLUTIONS, functional.embedding,
        FUSED_ATTENTION,
    }
)  # fmt: skip
"""Functions that mix entries with one another: what comes out is compared with nothing any more."""

DIFFERENCES: tuple[Function, ...] = (torch.sub, Tensor.sub, Tensor.__sub__)
DIVISIONS: tuple[Function, ...] = (torch.div, Tensor.div, Tensor.__truediv__)
GATHERS: tuple[Function, ...] = (torch.gather, Tensor.gather, torch.take_along_dim, Tensor.take_along_dim)
"""Functions by which labels pick the entries of their rows."""
RANKINGS: tuple[Function, ...] = (
    torch.topk, Tensor.topk, torch.argmax, Tensor.argmax, torch.argsort, Tensor.argsort, torch.sort, Tensor.sort,
    torch.max, Tensor.max,
)  # fmt: skip
"""Functions that tell which entries of a row are the greatest."""
LEAVING_AS_ARRAYS: tuple[Function, ...] = (Tensor.numpy, Tensor.__array__)
EQUALITIES: tuple[Function, ...] = (torch.eq, Tensor.eq, Tensor.__eq__)
DIAGONALS: tuple[Function, ...] = (torch.diag, Tensor.diag, torch.diagonal, Tensor.diagonal)
NEGATIVES: tuple[Function, ...] = (torch.neg, Tensor.neg, Tensor.__neg__, torch.negative, Tensor.negative)
UNARY: tuple[Function, ...] = (
    torch.square, Tensor.square, torch.pow, Tensor.pow, Tensor.__pow__,
    torch.abs, Tensor.abs, *NEGATIVES, Tensor.float,
    Tensor.div, torch.div, Tensor.__truediv__,
)  # fmt: skip
"""Functions of each entry by itself, between a difference or product of rows and the sum of it."""
TOTALS: tuple[Function, ...] = (torch.sum, Tensor.sum)
REDUCTIONS: tuple[Function, ...] = (
    *TOTALS, torch.mean, Tensor.mean, torch.norm, Tensor.norm, torch.linalg.norm,
    torch.linalg.vector_norm,
)  # fmt: skip
REGRESSIONS: tuple[Function, ...] = (
    functional.mse_loss, functional.l1_loss, functional.smooth_l1_loss, functional.huber_loss,
)  # fmt: skip
TRIPLETS: tuple[Function, ...] = (functional.triplet_margin_loss, functional.triplet_margin_with_distance_loss)
SIGMOIDS: tuple[Function, ...] = (torch.sigmoid, Tensor.sigmoid, functional.sigmoid, torch.special.expit)
TANHS: tuple[Function, ...] = (torch.tanh, Tensor.tanh, functional.tanh)
RELUS: tuple[Function, ...] = (functional.relu, torch.relu, Tensor.relu)

RANDOM_FACTORIES: tuple[Function, ...] = (torch.randn, torch.rand, torch.normal, torch.randn_like, torch.rand_like)
FACTORIES: tuple[Function, ...] = (
    torch.empty, torch.zeros, torch.ones, torch.full, torch.eye, torch.zeros_like, torch.ones_like, torch.empty_like,
)  # fmt: skip
_CONSTANT_INITS = {"constant_", "zeros_", "ones_", "eye_", "dirac_"}
_INITS: tuple[Function, ...] = tuple(
    value for name, value in vars(nn.init).items() if name.endswith("_") and callable(value) and name[0] != "_"
)
RANDOM_FILLS: tuple[Function, ...] = (
    Tensor.normal_, Tensor.uniform_, *(f for f in _INITS if f.__name__ not in _CONSTANT_INITS),
)  # fmt: skip
FILLS: tuple[Function, ...] = (
    Tensor.zero_, Tensor.fill_, Tensor.copy_, Tensor.mul_, Tensor.div_, Tensor.add_, Tensor.sub_, Tensor.erfinv_,
    Tensor.clamp_, Tensor.__imul__, Tensor.__itruediv__, Tensor.__iadd__,
    *(f for f in _INITS if f.__name__ in _CONSTANT_INITS),
)  # fmt: skip
DERIVING: tuple[Function, ...] = (
    torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__, Tensor.div, Tensor.__truediv__, Tensor.to, Tensor.clone,
    Tensor.detach, Tensor.float, Tensor.half, Tensor.bfloat16, Tensor.contiguous, Tensor.cuda,
)  # fmt: skip
"""Functions that make a parameter's initial value of another tensor."""

_LOSS = ("input", "target", "weight", "size_average")
_SIGNATURES: dict[Function, tuple[str, ...]] = {
    **dict.fromkeys((*SOFTMAX, *LOG_SOFTMAX, *LOGSUMEXP), ("input", "dim")),
    **dict.fromkeys((*MATMULS, *SUMS, *SCALING, *DIFFERENCES), ("input", "other")),
    **dict.fromkeys((functional.cosine_similarity, functional.pairwise_distance, torch.cdist), ("x1", "x2")),
    **dict.fromkeys(TRIPLETS, ("anchor", "positive", "negative", "margin")),
    functional.cosine_embedding_loss: ("input1", "input2", "target", "margin"),
    **dict.fromkeys(BIASED_PRODUCTS, ("input", "batch1", "batch2")),
    **dict.fromkeys((torch.gather, Tensor.gather), ("input", "dim", "index")),
    **dict.fromkeys((torch.take_along_dim, Tensor.take_along_dim), ("input", "indices", "dim")),
    **dict.fromkeys(FILLING, ("input", "mask", "value")),
    **dict.fromkeys(DROPOUTS, ("input", "p", "training")),
    **dict.fromkeys((*RANDOM_FILLS, *FILLS), ("tensor",)),
    torch.where: ("condition", "input", "other"),
    torch.addmm: ("input", "mat1", "mat2"),
    functional.linear: ("input", "weight", "bias"),
    FUSED_ATTENTION: ("query", "key", "value", "attn_mask", "dropout_p", "is_causal"),
    **dict.fromkeys(CONVOLUTIONS, ("input", "weight", "bias", "stride", "padding", "dilation", "groups")),
    functional.cross_entropy: (*_LOSS, "ignore_index", "reduce", "reduction", "label_smoothing"),
    functional.nll_loss: (*_LOSS, "ignore_index", "reduce", "reduction"),
    functional.binary_cross_entropy_with_logits: (*_LOSS, "reduce", "reduction", "pos_weight"),
    functional.binary_cross_entropy: (*_LOSS, "reduce", "reduction"),
    functional.logsigmoid: ("input",),
    functional.softplus: ("input", "beta", "threshold"),
    **dict.fromkeys(REGRESSIONS, ("input", "target")),
    functional.kl_div: (*_LOSS[:2], "size_average", "reduce", "reduction", "log_target"),
    Tensor.copy_: ("tensor", "source"),
    Tensor.mul_: ("tensor", "factor"),
    torch._foreach_mul_: ("tensors", "factor"),
}
"""Names of the positional arguments."""

_SYNONYMS = {(torch.mm, "mat2"): "other", (Tensor.mm, "mat2"): "other"} | {(f, "train"): "training" for f in DROPOUTS}


def one_more_than(args: tuple[Any, ...]) -> Tensor | None:
    """Return the tensor to which a sum adds the number 1; None of any other sum.

    >>> one_more_than((1, 2.0))
    """
    for tensor, number in (args[:2], args[1::-1]) if len(args) > 1 else ():
        if isinstance(tensor, Tensor) and isinstance(number, (int, float)) and number == 1:
            return tensor
    return None


def einsum_operands(args: tuple[Any, ...]) -> tuple[str, str, Tensor, Tensor] | None:
    """Return the indices of both operands of an einsum of two tensors, and these; None of any other einsum.

    >>> einsum_operands(("nc, ck -> nk", "left"))
    """
    given = args[1] if len(args) == 2 and isinstance(args[1], (list, tuple)) else args[1:]
    if not isinstance(args[0], str) or len(given) != 2 or not all(isinstance(operand, Tensor) for operand in given):
        return None
    left, _, right = args[0].replace(" ", "").split("->")[0].partition(",")
    return left, right, given[0], given[1]


def bind(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by name; those that were not given are absent.

    Functions that do the same have the same names: the second matrix of every product is ``other``.

    >>> bind(torch.mm, (1,), {"mat2": 2}), bind(torch.softmax, (1, -1), {})
    ({'input': 1, 'other': 2}, {'input': 1, 'dim': -1})
    """
    given = dict(zip(_SIGNATURES[func], args, strict=False))
    for name, value in kwargs.items():
        given[_SYNONYMS.get((func, name), name)] = value
    return given


def leading(handler: Callable[..., None]) -> Callable[..., None]:
    """Return a handler that is given the tensors of a call in front, also where they were given by keyword.

    One that has no tensor in front under any of the usual names is not handled.
    """

    def called(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if kwargs and len(args) < 2:
            named = [name for name in (("input", "tensor", "other") if not args else ("other",)) if name in kwargs]
            args = (*args, *(kwargs[name] for name in named))
            kwargs = {name: value for name, value in kwargs.items() if name not in named}
        if args:
            handler(func, args, kwargs, result)

    return called
