"""The geometry of both sides, over the rows that are finite, in blocks."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from edgeglass_diag.evaluate.embeddings import Embeddings, finite_rows
from edgeglass_diag.measures.geometry import alignment, gram, modality_gap, rank_of_gram, uniformity
from edgeglass_diag.measures.retrieval import unit_rows


def geometry(embeddings: Embeddings, *, block: int = 1024) -> dict[str, Any]:
    """Modality gap, alignment of the pairs, uniformity and effective rank of each side.

    NaN where fewer than two rows of a side, or no pair, are finite.
    """
    kept = {"image": finite_rows(embeddings.image), "text": finite_rows(embeddings.text)}
    sides = {"image": embeddings.image[kept["image"]], "text": embeddings.text[kept["text"]]}
    unit = {name: unit_rows(side, block=block) for name, side in sides.items()}  # in float32 without overflow
    enough = {name: len(side) > 1 for name, side in sides.items()}
    return {
        "modality_gap": float(modality_gap(*unit.values())) if all(map(len, unit.values())) else math.nan,
        "alignment": _alignment(embeddings, kept["text"] & kept["image"][embeddings.image_of_text], block),
        "uniformity": {n: float(uniformity(s, block=block)) if enough[n] else math.nan for n, s in unit.items()},
        "effective_rank": {n: _effective_rank(s, block) if enough[n] else math.nan for n, s in sides.items()},
    }


def _alignment(embeddings: Embeddings, kept: Tensor, block: int) -> float:
    """Mean over the captions."""
    captions = kept.nonzero().squeeze(1)
    total = 0.0
    for rows in torch.split(captions, block):
        image = unit_rows(embeddings.image[embeddings.image_of_text[rows]])
        total += float(alignment(image, unit_rows(embeddings.text[rows]))) * len(rows)
    return total / len(captions) if len(captions) else math.nan


def _effective_rank(side: Tensor, block: int) -> float:
    """As ``effective_rank``, whose float64 copy of a long side would be twice the size of the side."""
    if len(side) <= side.shape[1]:
        return float(rank_of_gram(gram(side)))
    total = torch.zeros(side.shape[1], side.shape[1], dtype=torch.float64, device=side.device)
    for rows in torch.split(side, block):
        part = rows.double()
        total.addmm_(part.T, part)
    return float(rank_of_gram(total))
