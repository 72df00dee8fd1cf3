"""Prefixes of embeddings: what else one could cut, to compare a Matryoshka head with, and where its curve bends.

Source of the head: Matryoshka Representation Learning, https://arxiv.org/abs/2205.13147.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def halvings(width: int, *, least: int = 32) -> list[int]:
    """The width and its halves down to ``least``: 512, 256, 128, 64, 32.

    Example:
        >>> halvings(512), halvings(20)
        ([512, 256, 128, 64, 32], [20])
    """
    widths = [width]
    while widths[-1] // 2 >= least:
        widths.append(widths[-1] // 2)
    return widths


def random_rotation(width: int, kept: int, *, seed: int = 0) -> Tensor:
    """The first ``kept`` columns of a random orthogonal matrix, (width, kept).

    A prefix of the rotated embeddings is what truncation leaves of a head that was not trained for it: the same
    geometry, in no order of dims.

    Source: QR with positive diagonal, Mezzadri, How to generate random matrices from the classical compact groups,
    https://arxiv.org/abs/math-ph/0609050.
    """
    gaussian = torch.randn(width, kept, generator=torch.Generator().manual_seed(seed))
    basis, triangle = torch.linalg.qr(gaussian)
    rotation: Tensor = basis * triangle.diagonal().sign()
    return rotation


def random_dims(width: int, *, seed: int = 0) -> Tensor:
    """A random order of the dims, (width,), whose prefixes are random subsets."""
    return torch.randperm(width, generator=torch.Generator().manual_seed(seed))


def principal_axes(image: Tensor, text: Tensor, *, block: int = 1024) -> Tensor:
    """Principal axes of the rows, each side about its own mean, by falling variance; (D, D), columns.

    Each side is centred by itself, since the modality gap would otherwise be the first axis, which ranks nothing.
    They are fitted on what they are tested on, so that their curve is rather too good.

    Args:
        image: (N, D) unit rows.
        text: (M, D) unit rows.
        block: rows taken at once.
    """
    width = image.shape[1]
    covariance = torch.zeros(width, width, device=image.device)
    for side in (image, text):
        mean = side.mean(0)
        for part in torch.split(side, block):
            centred = part - mean
            covariance.addmm_(centred.T, centred, alpha=1 / len(side))
    axes: Tensor = torch.linalg.eigh(covariance).eigenvectors.flip(1)
    return axes


def knee(widths: Sequence[int], recalls: Sequence[float]) -> int | None:
    """The width where a curve of recall against log2 width bends: below it recall is lost, above it hardly won.

    With both axes scaled to [0, 1], the width at which the curve is farthest above the chord from its narrowest
    to its widest point; None where no point is above it, the widths are fewer than three, or wider is not better.

    Source: Satopaa et al., Finding a "Kneedle" in a Haystack, https://doi.org/10.1109/ICDCSW.2011.20.

    Example:
        >>> knee([256, 128, 64, 32, 16, 8], [0.84, 0.84, 0.84, 0.83, 0.81, 0.68])
        16
    """
    points = sorted(zip(map(math.log2, widths), recalls, widths, strict=True))
    (low, bottom, _), (high, top, _) = points[0], points[-1]
    if len(points) < 3 or not top > bottom:
        return None
    above = [((y - bottom) / (top - bottom) - (x - low) / (high - low), width) for x, y, width in points]
    distance, width = max(above, key=lambda point: point[0])
    return width if distance > 1e-9 else None
