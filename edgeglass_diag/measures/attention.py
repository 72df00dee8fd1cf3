"""Statistics of attention logits and of their softmax, per head, without the whole L x S matrix at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

_BLOCK_ELEMENTS = 2**22


class AttentionStatistics(NamedTuple):
    """One value per head.

    Attributes:
        logit_mean: mean logit over queries and valid keys.
        logit_std: root of the mean over queries of the variance over valid keys.
        logit_max: largest valid logit.
        entropy: mean over queries of the softmax entropy divided by ln(valid keys), in [0, 1]; a query with
            one valid key counts as 0, a query with none as NaN.
        top1: mean over queries of the largest weight, in [0, 1].
    """

    logit_mean: Tensor
    logit_std: Tensor
    logit_max: Tensor
    entropy: Tensor
    top1: Tensor


def softmax_statistics(logits: Tensor, valid: Tensor | None = None) -> AttentionStatistics:
    """Statistics of materialised logits.

    Args:
        logits: (B, H, L, S), the softmax runs over S. -inf marks an invalid key.
        valid: bool, broadcastable to the logits; True where the key counts.

    Returns:
        Statistics with shape (H,).
    """
    return _combine([_block(_full(logits), valid)])


def attention_statistics(
    query: Tensor,
    key: Tensor,
    *,
    mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> AttentionStatistics:
    """Statistics of softmax(scale q k^T + mask), query block by query block.

    Args:
        query: (B, H, L, E).
        key: (B, Hk, S, E) with H a multiple of Hk (grouped-query attention).
        mask: bool (True attends) or additive float, broadcastable to (B, H, L, S).
        is_causal: query i sees the keys 0..i.
        scale: 1 / sqrt(E) where None.

    Returns:
        Statistics with shape (H,).

    Raises:
        ValueError: when the heads of query and key do not fit.
    """
    heads, key_heads = query.shape[1], key.shape[1]
    if heads % key_heads:
        raise ValueError(f"query heads must be a multiple of key heads, got {heads} and {key_heads}")
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    keys = _full(key).repeat_interleave(heads // key_heads, dim=1) if heads != key_heads else _full(key)
    blocks = []
    for start, stop in _blocks(query, key.shape[-2]):
        logits = factor * (_full(query[..., start:stop, :]) @ keys.mT)
        valid = None
        if is_causal:
            rows = torch.arange(start, stop, device=query.device).unsqueeze(-1)
            valid = torch.arange(key.shape[-2], device=query.device) <= rows
        if mask is not None:
            part = mask[..., start:stop, :] if mask.dim() > 1 and mask.shape[-2] != 1 else mask
            if part.dtype == torch.bool:
                valid = part if valid is None else valid & part
            else:
                logits = logits + part
        blocks.append(_block(logits, valid))
    return _combine(blocks)


def _blocks(query: Tensor, keys: int) -> Iterator[tuple[int, int]]:
    length = query.shape[-2]
    size = max(1, _BLOCK_ELEMENTS // max(1, query.shape[0] * query.shape[1] * keys))
    for start in range(0, length, size):
        yield start, min(start + size, length)


class _Sums(NamedTuple):
    """Sums over batch and queries of one block, each (H,)."""

    queries: Tensor
    mean: Tensor
    variance: Tensor
    maximum: Tensor
    entropy: Tensor
    top1: Tensor


def _block(logits: Tensor, valid: Tensor | None) -> _Sums:
    finite = logits != float("-inf")
    allowed = finite if valid is None else finite & valid
    count = allowed.sum(-1)
    masked = logits.masked_fill(~allowed, 0.0)
    mean = masked.sum(-1) / count
    variance = ((masked - mean.unsqueeze(-1)) * allowed).square().sum(-1) / count
    scores = logits.masked_fill(~allowed, float("-inf"))
    log_weights = scores.log_softmax(-1)
    weights = log_weights.exp()
    entropy = -(weights * log_weights.masked_fill(~allowed, 0.0)).sum(-1)
    normaliser = count.to(entropy.dtype).log()
    normalised = torch.where(count == 1, torch.zeros_like(entropy), entropy / normaliser)
    queries = torch.full_like(mean[0, :, 0], float(mean.shape[0] * mean.shape[2]))
    return _Sums(
        queries,
        mean.sum((0, 2)),
        variance.sum((0, 2)),
        scores.amax((0, 2, 3)),
        normalised.sum((0, 2)),
        weights.amax(-1).sum((0, 2)),
    )


def _combine(blocks: list[_Sums]) -> AttentionStatistics:
    queries = torch.stack([b.queries for b in blocks]).sum(0)

    def average(name: str) -> Tensor:
        return torch.stack([getattr(b, name) for b in blocks]).sum(0) / queries

    return AttentionStatistics(
        logit_mean=average("mean"),
        logit_std=average("variance").sqrt(),
        logit_max=torch.stack([b.maximum for b in blocks]).amax(0),
        entropy=average("entropy"),
        top1=average("top1"),
    )


def _full(values: Tensor) -> Tensor:
    return values if values.dtype in (torch.float32, torch.float64) else values.float()
