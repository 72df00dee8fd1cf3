"""The verb ``eval``: retrieval both ways, by MRL prefix, and the geometry of the embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeglass_diag.measures.chance import chance_recall
from edgeglass_diag.measures.geometry import alignment, effective_rank, modality_gap, uniformity
from edgeglass_diag.measures.retrieval import recall_at_k
from edgeglass_diag.records import UsageError
from edgeglass_diag.targets import provider

if TYPE_CHECKING:
    from torch import Tensor

KS = (1, 5, 10)


def evaluate(path: Path, split: str) -> dict[str, Any]:
    """Recalls, MRL table and geometry of a run or checkpoint.

    Raises:
        UsageError: when there is nothing to evaluate at ``path``.
    """
    try:
        image, text, dims = provider().embed(path, split)
        return {"split": split, **evaluate_embeddings(image, text, dims)}
    except ValueError as error:
        raise UsageError(str(error)) from error


def evaluate_embeddings(image: Tensor, text: Tensor, dims: Sequence[int]) -> dict[str, Any]:
    """The same for embeddings (N, D) of both sides.

    Raises:
        ValueError: see recall_at_k.
    """
    count, width = image.shape
    widths = sorted({width, *dims}, reverse=True)
    ways = {"i2t": recall_at_k(image, text, KS, dims=widths), "t2i": recall_at_k(text, image, KS, dims=widths)}
    mrl = {
        str(dim): {way: {f"R@{k}": recall for k, recall in table[dim].items()} for way, table in ways.items()}
        for dim in widths
    }
    geometry = {
        "modality_gap": float(modality_gap(image, text)),
        "alignment": float(alignment(image, text)),
        "uniformity": {"image": float(uniformity(image)), "text": float(uniformity(text))},
        "effective_rank": {"image": float(effective_rank(image)), "text": float(effective_rank(text))},
    }
    return {
        "n_images": count,
        "n_texts": count,
        "chance": {f"R@{k}": chance_recall(k, count) for k in KS},
        **mrl[str(width)],
        "mrl": mrl,
        "geometry": geometry,
    }
