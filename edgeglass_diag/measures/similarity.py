"""Cosines of pairs beside those of non-pairs: their densities, and how well they part. Numpy and scipy alone."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
ROUNDING = 1e-6
"""Cosines of float32 rows that spread less than this are one value."""


def cosine_density(cosines: Array, *, points: int = 256) -> tuple[Array, Array] | None:
    """Gaussian kernel density of cosines over a grid within [-1, 1]; None where they are all one value or too few.

    Mass that a kernel would put beyond 1 or -1 is reflected, so that the density integrates to 1 over [-1, 1].

    Source: bandwidth by Silverman's rule, Density Estimation for Statistics and Data Analysis, 1986, eq. 3.31 without
    its quartiles; scipy.stats.gaussian_kde.

    Args:
        cosines: (N,) finite.
        points: grid points.

    Returns:
        Grid (points,) and density (points,) per unit of cosine.
    """
    if len(cosines) < 2 or np.ptp(cosines) <= ROUNDING:
        return None
    from scipy.stats import gaussian_kde

    kernel = gaussian_kde(cosines.astype(np.float64), bw_method="silverman")
    reach = 4 * float(np.sqrt(kernel.covariance[0, 0]))
    grid = np.linspace(max(-1.0, cosines.min() - reach), min(1.0, cosines.max() + reach), points)
    return grid, kernel(grid) + kernel(2 - grid) + kernel(-2 - grid)


def separation(pairs: Array, others: Array) -> float:
    """Chance that a pair's cosine is above a non-pair's, ties counting half, in [0, 1]; 0.5 if they are alike.

    The area under the ROC curve (Mann-Whitney U); ties are exact ones after rounding to 1e-6. NaN without either.

    Args:
        pairs: (N,) cosines of pairs.
        others: (M,) cosines of non-pairs.
    """
    if len(pairs) == 0 or len(others) == 0:
        return float("nan")
    ordered = np.sort(np.round(others.astype(np.float64), 6))
    values = np.round(pairs.astype(np.float64), 6)
    below = np.searchsorted(ordered, values, side="left")
    upto = np.searchsorted(ordered, values, side="right")
    return float((below + upto).mean() / (2 * len(ordered)))
