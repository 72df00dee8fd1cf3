"""Attribution drawn as a heatmap over the picture. Arrays in, arrays out; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeglass_diag.extras import extra

with extra("evaluate", "a heatmap over a picture"):
    from PIL import Image

FOR, AGAINST = (213, 94, 0), (0, 114, 178)
"""Okabe and Ito's vermilion and blue: what speaks for the pair, and what speaks against it."""


def overlay(picture: NDArray[np.uint8], values: NDArray[np.floating[Any]], *, size: int = 256) -> NDArray[np.uint8]:
    """The picture in grey with the heatmap over it, (S, S', 3) where the longer side is ``size``.

    Vermilion speaks for the pair, blue against it; full colour is the largest finite absolute value. NaN has none.

    Args:
        picture: (H, W, 3).
        values: (rows, columns), in any unit.

    Raises:
        ValueError: for other shapes.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or values.ndim != 2:
        raise ValueError(f"expected a picture (H, W, 3) and a grid of values, got {picture.shape} and {values.shape}")
    factor = size / max(picture.shape[:2])
    width, height = (max(1, round(side * factor)) for side in (picture.shape[1], picture.shape[0]))
    grey = Image.fromarray(picture).convert("L").resize((width, height), Image.Resampling.NEAREST)
    limit = float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) or 1.0
    shares = np.nan_to_num(np.clip(values / limit, -1, 1)).astype(np.float32)
    heat = Image.fromarray(shares).resize((width, height), Image.Resampling.NEAREST)
    strength = np.asarray(heat)[..., None]
    colour = np.where(strength > 0, np.array(FOR), np.array(AGAINST))
    opacity = 0.85 * np.abs(strength)
    base = 60 + 0.75 * np.asarray(grey, dtype=np.float32)[..., None]
    drawn: NDArray[np.uint8] = np.clip(base * (1 - opacity) + colour * opacity, 0, 255).astype(np.uint8)
    return drawn


def strip(
    picture: NDArray[np.uint8], maps: Sequence[NDArray[np.floating[Any]]], *, size: int = 256
) -> NDArray[np.uint8]:
    """Return the picture itself and to its right one overlay for each map."""
    factor = size / max(picture.shape[:2])
    shape = (round(picture.shape[1] * factor), round(picture.shape[0] * factor))
    plain = np.asarray(Image.fromarray(picture).resize(shape, Image.Resampling.NEAREST))
    gap = np.full((plain.shape[0], 8, 3), 255, dtype=np.uint8)
    parts = [plain]
    for values in maps:
        parts += [gap, overlay(picture, values, size=size)]
    return np.concatenate(parts, axis=1)
