"""Statistics of each query's logits: few passes over one block, which is overwritten."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

EXCLUDED = -1e3
"""An additive mask of this or less excludes its key.

A float32 weight is exactly 0 where its logit lies 104 below the largest (the least positive float32 is exp(-103.3);
bfloat16 and float16 vanish earlier). Between logits of size 448 the difference is at most 896; less 1000 it is below
-104 whatever the two are, and logits of trained attention stay within some 50. The masks in use (-1e4, -65504, -1e9,
finfo.min, -inf) are all below; what is above, such as the -100 of shifted windows and linear position biases within
some thousand tokens, counts as a bias of a valid key.
"""
_FAR = 1e30
_SPREAD = 4
_LOWEST = -87.0
"""Below it exp leaves the normal float32 numbers, and takes twenty to a hundred times as long on a CPU. What is taken
instead, 1.6e-38 beside a largest weight of 1, is far below any tolerance."""


class QueryStatistics(NamedTuple):
    """Statistics of each query, (b, H, n) each; ``masked`` is 1 for a query without valid key. See AttentionStatistics.

    ``masked``, ``valid`` (share of valid keys) and ``padding`` (mass) are None where no mask is known.
    """

    mean: Tensor
    variance: Tensor
    maximum: Tensor
    entropy: Tensor
    top1: Tensor
    masked: Tensor | None = None
    valid: Tensor | None = None
    padding: Tensor | None = None


def full(values: Tensor) -> Tensor:
    """The same values in float32 or wider."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def query_statistics(
    logits: Tensor, valid: Tensor | None = None, *, padding: Tensor | None = None, bias: Tensor | None = None
) -> QueryStatistics:
    """Statistics of each row of logits + bias over its valid keys.

    With x = logit - largest valid logit, Z = sum e^x: entropy ln Z - sum(x e^x) / Z, largest weight 1 / Z, variance
    mean(x^2) - mean(x)^2. As (max - mean)^2 <= S var for any S values, the last loses at most S eps of var.

    Args:
        logits: (b, H, n, S) in float32 or float64; overwritten.
        valid: 1 where a key is valid and 0 elsewhere, in the logits' dtype, broadcastable to them; all where None.
        padding: 1 where the mass that the key would have is wanted, likewise.
        bias: finite additive mask, likewise; the mass of padding keys is theirs without it.
    """
    hidden = None if padding is None else _logsumexp(logits + (padding - 1) * _FAR)
    if bias is not None:
        logits.add_(bias)
    count: Tensor | int = logits.shape[-1]
    if valid is not None:
        count = valid.sum(-1)
        logits.add_((valid - 1) * _FAR)
    maximum = logits.amax(-1, keepdim=True)
    logits.sub_(maximum)
    weights = _exp(logits)
    if valid is not None:
        logits.mul_(valid)
    return _rows(logits, weights, maximum.squeeze(-1), count, hidden)


def masked_by_size(logits: Tensor) -> QueryStatistics:
    """Statistics of rows in which masked entries are told by their size; see ``softmax_statistics``.

    Args:
        logits: (b, H, n, S) of any floating dtype; left as they are.
    """
    own = full(logits).clamp_min(-_FAR)
    maximum = own.amax(-1, keepdim=True)
    own.sub_(maximum)
    # Compared in this direction NaN stays valid, and is seen.
    valid = (own <= EXCLUDED - maximum - _SPREAD * maximum.clamp_min(0)).logical_not_().to(own.dtype)
    weights = _exp(own)
    own.mul_(valid)
    return _rows(own, weights, maximum.squeeze(-1), valid.sum(-1), None)


def _exp(shifted: Tensor) -> Tensor:
    """exp of logits less their maximum; finite also for a query without valid key, which is not counted."""
    return shifted.clamp_min(_LOWEST).exp_()


def _logsumexp(logits: Tensor) -> Tensor:
    maximum = logits.amax(-1, keepdim=True)
    return _exp(logits.sub_(maximum)).sum(-1).log() + maximum.squeeze(-1)


def _rows(
    shifted: Tensor, weights: Tensor, maximum: Tensor, count: Tensor | int, hidden: Tensor | None
) -> QueryStatistics:
    """From logits less their maximum, 0 where invalid, and their exponentials; both are overwritten."""
    masked = valid = None
    logarithm: Tensor | float
    if isinstance(count, Tensor):
        count = count.expand_as(maximum)
        masked = (count == 0).to(maximum.dtype)
        valid = count / shifted.shape[-1]
        count = count.clamp_min(1)
        logarithm = count.log().clamp_min(torch.finfo(maximum.dtype).tiny)
    else:
        logarithm = math.log(count) or 1.0
    total = weights.sum(-1)
    mean = shifted.sum(-1) / count
    variance = (torch.linalg.vector_norm(shifted, dim=-1).square_() / count - mean.square()).clamp_min_(0)
    entropy = total.log() - weights.mul_(shifted).sum(-1) / total
    padding = None if hidden is None else torch.sigmoid(hidden - total.log() - maximum)
    return QueryStatistics(
        mean + maximum, variance, maximum, entropy / logarithm, total.reciprocal(), masked, valid, padding
    )
