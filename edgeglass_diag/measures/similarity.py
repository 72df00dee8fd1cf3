"""Cosines of pairs and of non-pairs: their densities, and how well they separate. Numpy alone."""

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
    its quartiles.

    Args:
        cosines: (N,) finite.
        points: grid points.

    Returns:
        Grid (points,) and density (points,) per unit of cosine.
    """
    if len(cosines) < 2 or np.ptp(cosines) <= ROUNDING:
        return None
    values = cosines.astype(np.float64)
    width = float(values.std(ddof=1)) * (0.75 * len(values)) ** -0.2
    grid = np.linspace(max(-1.0, values.min() - 4 * width), min(1.0, values.max() + 4 * width), points)
    return grid, _kernels(grid, values, width) + _kernels(2 - grid, values, width) + _kernels(-2 - grid, values, width)


def _kernels(grid: Array, values: Array, width: float) -> Array:
    """Mean of normal densities around the values; 0 where it is further than 9 widths from all of them."""
    found = np.zeros(len(grid))
    for at in np.flatnonzero((grid > values.min() - 9 * width) & (grid < values.max() + 9 * width)):
        found[at] = np.exp(-0.5 * ((grid[at] - values) / width) ** 2).mean()
    return found / (width * float(np.sqrt(2 * np.pi)))


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
