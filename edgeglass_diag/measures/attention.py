"""Statistics of attention logits and of their softmax, per head, without the whole L x S matrix at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from edgeglass_diag.measures.logits import QueryStatistics, full, masked_by_size
from edgeglass_diag.measures.masks import Mask, first_query_keys
from edgeglass_diag.measures.sampling import Subset, standard_error

_BLOCK_ON_CPU = 2**18
"""Logits held at once: a block and its exponentials fit the cache of a core (1 MiB each)."""
_BLOCK_ELSEWHERE = 2**22
"""Elsewhere fewer and larger kernels pay (16 MiB)."""


class AttentionStatistics(NamedTuple):
    """One value per head. Means run over the queries that have a valid key; NaN where none has.

    Attributes:
        logit_mean: mean over queries of the mean logit over valid keys.
        logit_std: root of the mean over queries of the variance over valid keys.
        logit_max: largest valid logit.
        entropy: mean over queries of the softmax entropy divided by ln(valid keys), in [0, 1]; a query with one
            valid key counts as 0.
        top1: mean over queries of the largest weight, in [0, 1].
        entropy_se: standard error of the entropy; None where all queries were looked at.
        valid_keys: mean share of valid keys over all queries, in [0, 1]; None without mask.
        masked_queries: share of queries without any valid key, in [0, 1]; None without mask.
        padding_mass: mean mass that the softmax would put on padding keys were they not masked, in [0, 1].
            A padding key is one that the mask excludes for every query of a sample. The real mass there is 0 by
            construction. Against 1 - valid_keys, what uniform attention would put there, it tells what the mask
            hides: far more speaks for a mask that is inverted. None where no mask is known apart from the logits.
        first_query_keys: most keys that the query at position 0 sees in any sample, 1 under a causal mask; None without
            mask, and where the queries are not as many as the keys.
    """

    logit_mean: Tensor
    logit_std: Tensor
    logit_max: Tensor
    entropy: Tensor
    top1: Tensor
    entropy_se: Tensor | None = None
    valid_keys: Tensor | None = None
    masked_queries: Tensor | None = None
    padding_mass: Tensor | None = None
    first_query_keys: Tensor | None = None


def attention_statistics(
    query: Tensor,
    key: Tensor,
    *,
    mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    subset: Subset | None = None,
) -> AttentionStatistics:
    """Statistics of softmax(scale q k^T + mask), block by block, in float32 at least.

    Against a float64 reference of the same inputs the error is below 1e-4 for float32 and for bfloat16 inputs, which
    are widened before they are multiplied; what a kernel itself rounds in bfloat16 is not part of the statistics.
    Nothing waits for the device.

    Args:
        query: (B, H, L, E).
        key: (B, Hk, S, E) with H a multiple of Hk (grouped-query attention).
        mask: bool (True attends) or additive float, broadcastable to (B, H, L, S). Additive values of -1000 and below
            exclude a key, see ``edgeglass_diag.measures.logits``.
        is_causal: query i sees the keys 0..i.
        scale: 1 / sqrt(E) where None.
        subset: which batch elements and queries are looked at; all where None.

    Returns:
        Statistics with shape (H,).

    Raises:
        ValueError: when the heads of query and key do not fit.
    """
    heads, key_heads = query.shape[1], key.shape[1]
    if heads % key_heads:
        raise ValueError(f"query heads must be a multiple of key heads, got {heads} and {key_heads}")
    batch = max(query.shape[0], key.shape[0])
    chosen = Subset((batch, query.shape[2])) if subset is None else subset
    rule = Mask.of(mask, is_causal=is_causal, query=query, keys=key.shape[2], subset=chosen)
    query = query.expand(batch, -1, -1, -1)[chosen.batch, :, chosen.queries]
    key = key.expand(batch, -1, -1, -1)[chosen.batch]
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    parts = []
    for elements, rows in _blocks(query, key.shape[2]):
        if rows.start == 0:
            keys = full(key[elements]).contiguous()
        logits = _products(full(query[elements, :, rows]) * factor, keys)
        parts.append(rule.statistics(logits, elements, rows))
    first = first_query_keys(
        mask, is_causal=is_causal, heads=heads, queries=chosen.population[1], keys=key.shape[2], device=key.device
    )
    return _summary(_joined(parts, query.shape[0]), chosen)._replace(first_query_keys=first)


def softmax_statistics(logits: Tensor, *, subset: Subset | None = None, taken: bool = False) -> AttentionStatistics:
    """Statistics of materialised logits, a mask already among them.

    A key is invalid where its logit is at most -(1000 + 4 max(0, largest logit of the query)): masks of -1e4, of
    finfo.min and of -inf lie below it, logits that are merely widely spread do not.

    Args:
        logits: (B, H, L, S), the softmax runs over S.
        subset: which batch elements and queries are looked at; all where None.
        taken: whether the logits are the subset already.

    Returns:
        Statistics with shape (H,).
    """
    chosen = Subset((logits.shape[0], logits.shape[2])) if subset is None else subset
    part = logits if taken else logits[chosen.batch, :, chosen.queries]
    parts = [masked_by_size(part[elements, :, rows]) for elements, rows in _blocks(part, part.shape[-1])]
    return _summary(_joined(parts, part.shape[0]), chosen)


def masked_statistics(logits: Tensor, mask: Tensor, *, subset: Subset) -> AttentionStatistics:
    """Statistics of softmax(logits + mask), where the mask is known apart from the logits.

    Args:
        logits: (b, H, n, S), the subset alone.
        mask: as for ``attention_statistics``, of the whole.
        subset: which batch elements and queries the logits are.

    Returns:
        Statistics with shape (H,).
    """
    rule = Mask.of(mask, is_causal=False, query=logits, keys=logits.shape[3], subset=subset)
    blocks = _blocks(logits, logits.shape[3])
    parts = [rule.statistics(full(logits[b, :, q]).clone(), b, q) for b, q in blocks]
    queries, keys = subset.population[1], logits.shape[3]
    first = first_query_keys(
        mask, is_causal=False, heads=logits.shape[1], queries=queries, keys=keys, device=logits.device
    )
    return _summary(_joined(parts, logits.shape[0]), subset)._replace(first_query_keys=first)


def _blocks(query: Tensor, keys: int) -> Iterator[tuple[slice, slice]]:
    """Slices of batch elements and queries: several whole elements at once, or a part of one's queries."""
    size = _BLOCK_ON_CPU if query.device.type == "cpu" else _BLOCK_ELSEWHERE
    batch, heads, length = query.shape[:3]
    elements = max(1, size // max(1, heads * length * keys))
    queries = length if elements > 1 else max(1, size // max(1, heads * keys))
    for first in range(0, batch, elements):
        for start in range(0, length, queries):
            yield slice(first, first + elements), slice(start, start + queries)


def _products(query: Tensor, key: Tensor) -> Tensor:
    """q k^T, the queries of a group of heads against the key head that they share."""
    batch, heads, length, width = query.shape
    grouped = query.reshape(batch, key.shape[1], -1, width)
    return (grouped @ key.mT).view(batch, heads, length, key.shape[2])


def _joined(parts: list[QueryStatistics], batch: int) -> QueryStatistics:
    """Blocks put together: (b, H, n) each."""
    if len(parts) == 1:
        return parts[0]
    rows = max(1, len(parts) // batch)
    return QueryStatistics(
        **{
            name: torch.cat([torch.cat(blocks[i : i + rows], dim=2) for i in range(0, len(blocks), rows)])
            for name in QueryStatistics._fields
            if (blocks := [block for part in parts if (block := getattr(part, name)) is not None])
        }
    )


def _summary(queries: QueryStatistics, subset: Subset) -> AttentionStatistics:
    """Means over batch elements and queries, one value per head; in few kernels, since these are small tensors."""
    rows = [queries.mean, queries.variance, queries.entropy, queries.top1]
    if queries.padding is not None:
        rows.append(queries.padding)
    counted: Tensor | None = None
    highest = queries.maximum
    if queries.masked is None:
        means = torch.stack(rows).mean((1, 3))
    else:
        counted = 1 - queries.masked
        means = (torch.stack(rows) * counted).sum((1, 3)) / counted.sum((0, 2))
        highest = torch.where(counted == 0, -torch.inf, highest)
    exact = subset.size == subset.population
    return AttentionStatistics(
        logit_mean=means[0],
        logit_std=means[1].sqrt(),
        logit_max=highest.amax((0, 2)),
        entropy=means[2],
        top1=means[3],
        entropy_se=None if exact else standard_error(queries.entropy, subset.population, counted),
        valid_keys=None if queries.valid is None else queries.valid.mean((0, 2)),
        masked_queries=None if queries.masked is None else queries.masked.mean((0, 2)),
        padding_mass=None if queries.padding is None else means[4],
    )
