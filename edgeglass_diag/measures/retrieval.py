"""Retrieval between paired embeddings, L2-normalised cosine, memory bounded by a block of queries.

Tie rule: the expected recall under a random order of the tied. Scores within ``TIE`` of the pair's own count as
tied, so that a constant side gives exactly K / N instead of whatever rounding and sorting make of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

TIE = 2.0**-20
"""About eight float32 roundings of a cosine near 1."""


def recall_at_k(
    queries: Tensor,
    gallery: Tensor,
    ks: Sequence[int] = (1, 5, 10),
    *,
    dims: Sequence[int] | None = None,
    block: int = 1024,
) -> dict[int, dict[int, float]]:
    """Expected share of queries whose pair is among the K best, for each prefix width.

    Args:
        queries: (N, D), row i the pair of row i of the gallery.
        gallery: (N, D).
        ks: the Ks, each at least 1.
        dims: prefix widths (sliced, then normalised); the full width where None.
        block: queries scored at once.

    Returns:
        ``{dim: {k: recall}}``, recalls in [0, 1].

    Raises:
        ValueError: for unequal shapes, an empty set, a prefix wider than D, a K below 1, or embeddings that
            are not finite.
    """
    _validate(queries, gallery, ks, dims)
    widths = [queries.shape[1]] if dims is None else list(dims)
    return {dim: _recall(queries[:, :dim], gallery[:, :dim], ks, block) for dim in widths}


def _recall(queries: Tensor, gallery: Tensor, ks: Sequence[int], block: int) -> dict[int, float]:
    left, right = normalize(queries.float(), dim=-1), normalize(gallery.float(), dim=-1)
    hits = torch.zeros(len(ks), dtype=torch.float64, device=left.device)
    cutoffs = torch.tensor(list(ks), dtype=torch.float64, device=left.device)
    for start in range(0, len(left), block):
        scores = left[start : start + block] @ right.T
        own = scores.diagonal(offset=start).unsqueeze(1)
        better = (scores > own + TIE).sum(1).double()
        tied = ((scores - own).abs() <= TIE).sum(1).double()
        hits += ((cutoffs - better.unsqueeze(1)) / tied.unsqueeze(1)).clamp(0, 1).sum(0)
    return {k: float(hit) / len(left) for k, hit in zip(ks, hits, strict=True)}


def _validate(queries: Tensor, gallery: Tensor, ks: Sequence[int], dims: Sequence[int] | None) -> None:
    if queries.dim() != 2 or queries.shape != gallery.shape:
        shapes = f"{tuple(queries.shape)} and {tuple(gallery.shape)}"
        raise ValueError(f"queries and gallery must be two (N, D) of one shape, got {shapes}")
    if len(queries) == 0:
        raise ValueError("queries must not be empty")
    if min(ks) < 1:
        raise ValueError(f"each k must be at least 1, got {list(ks)}")
    if dims is not None and (min(dims) < 1 or max(dims) > queries.shape[1]):
        raise ValueError(f"dims must be in [1, {queries.shape[1]}], got {list(dims)}")
    for name, values in (("queries", queries), ("gallery", gallery)):
        bad = int((~torch.isfinite(values)).any(dim=1).sum())
        if bad:
            raise ValueError(f"{name}: {bad} of {len(values)} embeddings are not finite and cannot be ranked")
