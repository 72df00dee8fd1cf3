"""Geometry of both sides by prefix width, over the finite rows, in blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from edgeglass_diag.evaluation.embeddings import Embeddings, finite_rows
from edgeglass_diag.measures.geometry import alignment, gram, modality_gap, rank_of_gram, uniformity
from edgeglass_diag.measures.hubness import hubness, occurrences
from edgeglass_diag.measures.retrieval import unit_rows

MAX_CAPTIONS = 5000
"""Captions in the computation of hubness, which needs all their cosines."""


def geometry(
    embeddings: Embeddings, dims: Sequence[int] | None = None, *, block: int = 1024
) -> dict[int, dict[str, Any]]:
    """Return modality gap, alignment of pairs, uniformity and effective rank of each side, by prefix width.

    Values are NaN if fewer than two rows of a side, or no pair, are finite.

    Args:
        embeddings: both sides.
        dims: prefix widths; None for the full width.
        block: rows compared at once.
    """
    kept = {"image": finite_rows(embeddings.image), "text": finite_rows(embeddings.text)}
    sides = {"image": embeddings.image[kept["image"]], "text": embeddings.text[kept["text"]]}
    widths = [embeddings.width] if dims is None else list(dims)
    ranks = {name: _effective_ranks(side, widths, block) for name, side in sides.items()}
    place = {name: rows.cumsum(0) - 1 for name, rows in kept.items()}
    pairs = kept["text"] & kept["image"][embeddings.image_of_text]
    captions, owners = place["text"][pairs], place["image"][embeddings.image_of_text[pairs]]
    found = {}
    for width in widths:
        unit = {name: unit_rows(side[:, :width], block=block) for name, side in sides.items()}
        found[width] = {
            "modality_gap": float(modality_gap(*unit.values())) if all(map(len, unit.values())) else math.nan,
            "alignment": _alignment(unit, captions, owners, block),
            "uniformity": {n: float(uniformity(s, block=block)) if len(s) > 1 else math.nan for n, s in unit.items()},
            "effective_rank": {name: of[width] for name, of in ranks.items()},
        }
    return found


def hubs(embeddings: Embeddings, *, k: int = 10, seed: int = 0) -> dict[str, Any]:
    """Return the hubness of the candidates in both directions, at full width.

    ``captions`` is the number of captions used, at most 5000; ``i2t`` has the hubness of captions as candidates,
    ``t2i`` that of images; None for a direction with fewer than two candidates.

    Args:
        embeddings: both sides.
        k: ranks that count as an occurrence.
        seed: of the draw of captions.
    """
    owner = embeddings.image_of_text
    rows = (finite_rows(embeddings.text) & finite_rows(embeddings.image)[owner]).nonzero().squeeze(1).cpu()
    if len(rows) > MAX_CAPTIONS:
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:MAX_CAPTIONS]]
    rows = rows.to(owner.device)
    texts = unit_rows(embeddings.text[rows]).cpu().numpy()
    images = unit_rows(embeddings.image[torch.unique(owner[rows])]).cpu().numpy()
    ways = {"i2t": (images, texts), "t2i": (texts, images)}
    found = {
        way: asdict(hubness(occurrences(queries, candidates, k), min(k, len(candidates))))
        if len(candidates) > 1
        else None
        for way, (queries, candidates) in ways.items()
    }
    return {"captions": len(rows), **found}


def _alignment(unit: dict[str, Tensor], captions: Tensor, owners: Tensor, block: int) -> float:
    """Return the mean alignment over captions, in blocks; NaN without captions."""
    total = 0.0
    for texts, images in zip(torch.split(captions, block), torch.split(owners, block), strict=True):
        total += float(alignment(unit["image"][images], unit["text"][texts])) * len(texts) if len(texts) else 0.0
    return total / len(captions) if len(captions) else math.nan


def _effective_ranks(side: Tensor, widths: Sequence[int], block: int) -> dict[int, float]:
    """Return the effective rank of (N, D) for each width; in blocks, as a float64 copy would double the memory."""
    if len(side) < 2:
        return dict.fromkeys(widths, math.nan)
    if len(side) <= side.shape[1]:
        return {width: float(rank_of_gram(gram(side[:, :width]))) for width in widths}
    total = torch.zeros(side.shape[1], side.shape[1], dtype=torch.float64, device=side.device)
    for rows in torch.split(side, block):
        part = rows.double()
        total.addmm_(part.T, part)
    return {width: float(rank_of_gram(total[:width, :width])) for width in widths}
