"""The MRL curve: recall by prefix width, with other ways to save the same storage for comparison."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from edgeglass_diag.evaluation.embeddings import Embeddings, finite_rows
from edgeglass_diag.measures.prefixes import knee, principal_axes, random_dims, random_rotation
from edgeglass_diag.measures.quantisation import BITS, to_binary, to_int8
from edgeglass_diag.measures.ranking import Placement, hits
from edgeglass_diag.measures.retrieval import place_pairs, unit_rows

KNEE = {
    "definition": "farthest above the chord of mean R@1 against log2 width, both scaled to [0, 1]",
    "source": "https://doi.org/10.1109/ICDCSW.2011.20",
}


def curve(
    embeddings: Embeddings, dims: list[int], plain: tuple[Placement, Placement], ks: Iterable[int], *, block: int
) -> dict[str, Any]:
    """Return the recall of each way to store smaller embeddings, and the knee of the curve of prefixes.

    Ways: ``prefix`` (the first dims), ``untrained`` (the first dims after a random rotation: truncation of a head
    without Matryoshka training), ``pca`` (the first principal axes, fitted on the same embeddings), ``random`` (random
    dims), each in float32 below the full width; ``int8`` and ``binary`` prefixes at every width.

    Args:
        embeddings: both sides.
        dims: the widths.
        plain: rankings by the prefixes at these widths, i2t and t2i.
        ks: the Ks of the recalls.
        block: images and captions scored at once.

    Returns:
        ``{"rows": [{"way", "dims", "saved", "i2t": {"R@1"...}, "t2i"}], "knee": {"dims", "saved", "definition",
        "source"} or None}``; ``saved`` is the storage of the full width in float32 over that of the row, 8.0 for 512 of
        4096 dims.
    """
    ks = list(ks)
    rows = [*_rows("prefix", embeddings.width, dims, plain, ks)]
    for way, (image, text) in _ways(embeddings, max((d for d in dims if d < embeddings.width), default=0)):
        widths = dims if way in BITS else [dim for dim in dims if dim < embeddings.width]
        placed = place_pairs(image, text, embeddings.image_of_text, dims=widths, block=block)
        rows += _rows(way, embeddings.width, widths, placed, ks)
    bend = knee(dims, [float(sum(hits(way, 1).mean(1)[row] for way in plain)) / 2 for row in range(len(dims))])
    return {"rows": rows, "knee": bend and {"dims": bend, "saved": embeddings.width / bend, **KNEE}}


def _ways(embeddings: Embeddings, widest: int) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """Yield each way with the changed (image, text); the ways that truncate only if ``widest`` is not 0."""
    image, text, width = unit_rows(embeddings.image), unit_rows(embeddings.text), embeddings.width
    if widest:
        rotation = random_rotation(width, widest).to(image.device)
        yield "untrained", (image @ rotation, text @ rotation)
        axes = _axes(image, text)[:, :widest]
        yield "pca", (image @ axes, text @ axes)
        order = random_dims(width)[:widest].to(image.device)
        yield "random", (image[:, order], text[:, order])
    yield "int8", to_int8(image, text)
    yield "binary", to_binary(image, text)


def _axes(image: Tensor, text: Tensor) -> Tensor:
    """Return the principal axes of the finite rows; the identity if a side has none and nothing can be ranked."""
    sides = image[finite_rows(image)], text[finite_rows(text)]
    return principal_axes(*sides) if all(map(len, sides)) else torch.eye(image.shape[1], device=image.device)


def _rows(
    way: str, full: int, dims: list[int], placed: tuple[Placement, Placement], ks: list[int]
) -> Iterator[dict[str, Any]]:
    recalls = [torch.stack([hits(side, k).mean(1) for k in ks], 1).tolist() for side in placed]
    for dim, *ways in zip(dims, *recalls, strict=True):
        table = {
            name: {f"R@{k}": r for k, r in zip(ks, w, strict=True)}
            for name, w in zip(("i2t", "t2i"), ways, strict=True)
        }
        saved = full * BITS["float32"] / (dim * BITS.get(way, BITS["float32"]))
        yield {"way": way, "dims": dim, "saved": saved, **table}
