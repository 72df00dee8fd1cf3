"""A bounded sample of pairs as unit rows, for pictures. No torch: the dashboard draws from it as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
LIMIT = 500
"""Pairs in a picture: a scatter of more is a blot, and t-SNE of twice as many points takes seconds."""


@dataclass(frozen=True, slots=True)
class PairSample:
    """Pairs whose both sides are finite; ``image`` and ``text`` (n, D) are unit rows, and row i of both a pair.

    ``caption`` and ``owner`` (n,) are the rows they come from. ``total`` captions there are, ``dropped`` of them for
    a side that is not finite.
    """

    image: Array
    text: Array
    caption: Array
    owner: Array
    total: int
    dropped: int

    def __len__(self) -> int:
        return len(self.caption)

    @property
    def said(self) -> str:
        """Return how many pairs are shown, in words.

        Example:
            >>> sample_pairs(np.eye(3), np.eye(3), limit=2).said
            '2 of 3 pairs, drawn at random'
        """
        kept = self.total - self.dropped
        whole = f"{kept} pair{'' if kept == 1 else 's'}"
        some = f"{len(self)} of {self.total} pairs, drawn at random" if len(self) < kept else whole
        return f"{some}; {self.dropped} left out: not finite" if self.dropped else some


def sample_pairs(
    image: Array, text: Array, image_of_text: Array | None = None, *, limit: int = LIMIT, seed: int = 0
) -> PairSample:
    """Return at most ``limit`` captions with their images, drawn without replacement, always the same ones.

    Args:
        image: (N, D) floats.
        text: (M, D) floats.
        image_of_text: (M,) row of each caption's image; row i belongs to image i where None.
        limit: pairs at most.
        seed: of the draw.

    Raises:
        ValueError: for sides that are not matrices of one width, or do not belong together.
    """
    owner = np.arange(len(text)) if image_of_text is None else np.asarray(image_of_text)
    if image.ndim != 2 or text.ndim != 2 or image.shape[1] != text.shape[1]:
        raise ValueError(f"image and text must be (N, D) and (M, D), got {image.shape} and {text.shape}")
    if owner.shape != text.shape[:1] or (len(owner) and not 0 <= owner.min() <= owner.max() < len(image)):
        raise ValueError(f"image_of_text must name one of {len(image)} images for each of {len(text)} captions")
    finite = np.isfinite(text).all(1) & np.take(np.isfinite(image).all(1), owner)
    kept = np.flatnonzero(finite)
    if len(kept) > limit:
        kept = np.sort(np.random.default_rng(seed).choice(kept, limit, replace=False))
    return PairSample(
        unit(image[owner[kept]]), unit(text[kept]), kept, owner[kept], len(text), len(text) - int(finite.sum())
    )


def unit(rows: Array) -> Array:
    """Return the rows divided by their norm, float64, without overflow; zeros stay zeros.

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
    """Return whether all rows are one, up to the rounding of float32.

    Example:
        >>> is_constant(np.ones((3, 2))), is_constant(np.eye(2))
        (True, False)
    """
    return bool(len(rows) and np.abs(rows - rows[:1]).max() <= 1e-6)
