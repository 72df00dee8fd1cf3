"""The result of an evaluation: recalls with chance and intervals, prefixes, geometry, the MRL curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from edgeglass_diag.evaluation.curve import curve
from edgeglass_diag.evaluation.duplicates import duplicates
from edgeglass_diag.evaluation.embeddings import Embeddings, finite_rows
from edgeglass_diag.evaluation.geometry import geometry, hubs
from edgeglass_diag.measures.bootstrap import bootstrap_interval
from edgeglass_diag.measures.prefixes import halvings
from edgeglass_diag.measures.ranking import Placement, chance_recalls, hits, mean_reciprocal_rank, median_rank
from edgeglass_diag.measures.retrieval import place_pairs

KS = (1, 5, 10)
WAYS = ("i2t", "t2i")


def report(
    embeddings: Embeddings, dims: Sequence[int] = (), *, with_curve: bool = True, block: int = 1024
) -> dict[str, Any]:
    """Return what ``eval --json`` prints, as plain values.

    ``duplicates`` has the equal rows of each side and the R@1 that they allow; ``chance`` has K / n_images and the
    chance of each direction, which differ for images with several captions; ``ci95`` has percentile bootstrap intervals
    over images; ``mrl`` has recalls, intervals and geometry of each width.

    Args:
        embeddings: both sides.
        dims: prefix widths; if empty those of the embeddings, or halvings of their width. The full width is added.
        with_curve: whether to compute the controls and quantisations, five more passes.
        block: images and captions scored at once.

    Raises:
        ValueError: for a width greater than that of the embeddings.
    """
    widths = sorted({embeddings.width, *(dims or embeddings.dims or halvings(embeddings.width))}, reverse=True)
    placed = place_pairs(embeddings.image, embeddings.text, embeddings.image_of_text, dims=widths, block=block)
    tables = {way: _table(side) for way, side in zip(WAYS, placed, strict=True)}
    intervals = {way: _intervals(side) for way, side in zip(WAYS, placed, strict=True)}
    shapes = geometry(embeddings, widths, block=block)
    rows = {
        dim: {
            **{way: tables[way][row] for way in WAYS},
            "ci95": {way: intervals[way][row] for way in WAYS},
            "geometry": shapes[dim],
        }
        for row, dim in enumerate(widths)
    }
    chance = chance_recalls(KS, embeddings.image_of_text, len(embeddings.image))
    result = {
        "n_images": len(embeddings.image),
        "n_texts": len(embeddings.text),
        "nonfinite": {
            side: int((~finite_rows(getattr(embeddings, side), block=block)).sum()) for side in ("image", "text")
        },
        "duplicates": duplicates(embeddings, block=block),
        "chance": {**chance["t2i"], **chance},
        **rows[embeddings.width],
        "mrl": {str(dim): entry for dim, entry in rows.items()},
        "geometry": {**shapes[embeddings.width], "hubness": hubs(embeddings)},
    }
    if with_curve:
        result["curve"] = curve(embeddings, widths, placed, KS, block=block)
    return result


def _table(placed: Placement) -> list[dict[str, float]]:
    """Return recalls, median rank and MRR of each width."""
    numbers = {
        **{f"R@{k}": hits(placed, k).mean(1) for k in KS},
        "median_rank": median_rank(placed),
        "MRR": mean_reciprocal_rank(placed),
    }
    return [dict(zip(numbers, row, strict=True)) for row in torch.stack(list(numbers.values()), 1).tolist()]


def _intervals(placed: Placement) -> list[dict[str, list[float]]]:
    """Return 95 % intervals of the recalls of each width, all from the same draws."""
    values = torch.stack([hits(placed, k) for k in KS])  # (K, P, Q)
    bounds = bootstrap_interval(values.flatten(0, 1).T, placed.image).reshape(2, *values.shape[:2])
    return [{f"R@{k}": bounds[:, index, row].tolist() for index, k in enumerate(KS)} for row in range(values.shape[1])]
