"""Intervals of a share that was counted."""

from __future__ import annotations

import torch
from torch import Tensor

_Z = 1.959963984540054
"""Standard deviations on either side of a Gaussian's mean between which 95 % of it lie."""


def wilson_interval(hits: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Return the ends of the 95 % score interval of a share, in [0, 1].

    With p = hits / n and z = 1.96 they are (p + z^2 / 2n -+ z (p (1 - p) / n + z^2 / 4n^2)^(1/2)) / (1 + z^2 / n).
    Source: Wilson 1927, Probable Inference, https://doi.org/10.1080/01621459.1927.10502953.

    Args:
        hits: number of successes, 0-d; NaN gives NaN.
        rows: number of trials, at least 1.

    Example:
        >>> low, high = wilson_interval(torch.tensor(5.0), 10)
        >>> round(low.item(), 3), round(high.item(), 3)
        (0.237, 0.763)
    """
    share, extra = hits.double() / rows, _Z**2 / rows
    centre = share + extra / 2
    half = _Z * torch.sqrt((share * (1 - share)).clamp(min=0) / rows + extra / (4 * rows))
    return ((centre - half) / (1 + extra)).clamp(0, 1), ((centre + half) / (1 + extra)).clamp(0, 1)
