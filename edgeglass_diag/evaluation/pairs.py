"""A bounded sample of pairs as unit rows, for figures. No torch: the dashboard uses it too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
LIMIT = 500
"""Pairs in a figure: a scatter plot of more is unreadable, and t-SNE of twice as many points takes seconds."""


@dataclass(frozen=True, slots=True)
class PairSample:
    """Pairs whose embeddings are finite on both sides.

    Attributes:
        image: (n, D) unit rows.
        text: (n, D) unit rows; row i is the pair of row i of ``image``.
        caption: (n,) row of the caption in the whole set.
        owner: (n,) row of its image in the whole set.
        total: captions in the whole set.
        dropped: captions left out because one of their sides is not finite.
    """

    image: Array
    text: Array
    caption: Array
    owner: Array
    total: int
    dropped: int

    def __len__(self) -> int:
        return len(self.caption)


def sample_pairs(
    image: Array, text: Array, image_of_text: Array | None = None, *, limit: int = LIMIT, seed: int = 0
) -> PairSample:
    """Return at most ``limit`` captions with their images, drawn without replacement; the same ones for the same seed.

    Args:
        image: (N, D) floats.
        text: (M, D) floats.
        image_of_text: (M,) row of each caption's image; None if caption i belongs to image i.
        limit: pairs at most.
        seed: of the draw.

    Raises:
        ValueError: if the sides are not matrices of one width, or ``image_of_text`` is not one row of ``image`` for
            each caption.
    """
    owner = np.arange(len(text)) if image_of_text is None else np.asarray(image_of_text)
    if image.ndim != 2 or text.ndim != 2 or image.shape[1] != text.shape[1]:
        raise ValueError(f"image and text: expected (N, D) and (M, D), got {image.shape} and {text.shape}")
    if owner.shape != text.shape[:1] or (len(owner) and not 0 <= owner.min() <= owner.max() < len(image)):
        raise ValueError(f"image_of_text: expected a row of {len(image)} images for each of {len(text)} captions")
    finite = np.isfinite(text).all(1) & np.take(np.isfinite(image).all(1), owner)
    kept = np.flatnonzero(finite)
    if len(kept) > limit:
        kept = np.sort(np.random.default_rng(seed).choice(kept, limit, replace=False))
    return PairSample(
        unit(image[owner[kept]]), unit(text[kept]), kept, owner[kept], len(text), len(text) - int(finite.sum())
    )


def unit(rows: Array) -> Array:
    """Return rows divided by their norm in float64, without overflow; zero rows stay zero.

    Example:
        >>> unit(np.array([[3e200, 4e200], [0, 0]])).tolist()
        [[0.6, 0.8], [0.0, 0.0]]
    """
    wide = rows.astype(np.float64)
    peak = np.abs(wide).max(1, keepdims=True, initial=0)
    wide = wide / np.where(peak == 0, 1, peak)
    norm = np.linalg.norm(wide, axis=1, keepdims=True)
    result: Array = wide / np.where(norm == 0, 1, norm)
    return result


def is_constant(rows: Array) -> bool:
    """Return whether all rows are equal up to the rounding of float32, 1e-6.

    Example:
        >>> is_constant(np.ones((3, 2))), is_constant(np.eye(2))
        (True, False)
    """
    return bool(len(rows) and np.abs(rows - rows[:1]).max() <= 1e-6)
