"""A long series in as few points as a screen shows, drawn as if all were there, and smoothed. Arrays in, arrays out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]


def shown(steps: Ints, values: Floats, *, columns: int, span: tuple[int, int] | None = None) -> Ints:
    """Return the indices of the readings that a line over so many columns of pixels is drawn with, rising.

    Of each column these are the first, the last, the lowest and the highest finite reading, with which the line has
    the same pixels as with all of them, and the first NaN, the first +inf and the first -inf.

    Source: M4: A Visualization-Oriented Time Series Data Aggregation, https://doi.org/10.14778/2732951.2732953.

    Args:
        steps: rising, (n,).
        values: (n,).
        columns: width in pixels, at least 1.
        span: first and last step that are looked at, with the readings next to them; all where None.
    """
    low, high = 0, len(steps)
    if span is not None:
        low = max(0, int(np.searchsorted(steps, span[0], side="left")) - 1)
        high = min(len(steps), int(np.searchsorted(steps, span[1], side="right")) + 1)
    if high - low <= 4 * columns:
        return np.arange(low, high)
    steps, values = steps[low:high], values[low:high]
    width = int(steps[-1] - steps[0]) + 1
    column = (steps - steps[0]) * columns // width
    finite = np.flatnonzero(np.isfinite(values))
    by_value = finite[np.lexsort((values[finite], column[finite]))]
    kinds = [np.flatnonzero(kind) for kind in (np.isnan(values), values == np.inf, values == -np.inf)]
    kept = [*_ends(finite, column), *_ends(by_value, column), *(_ends(kind, column)[0] for kind in kinds)]
    return low + np.unique(np.concatenate(kept))


def _ends(order: Ints, column: Ints) -> tuple[Ints, Ints]:
    """The first and the last index of each column, of indices that are sorted by column."""
    of = column[order]
    return order[np.flatnonzero(np.diff(of, prepend=-1))], order[
        np.flatnonzero(np.diff(of, append=of.max(initial=0) + 1))
    ]


def smoothed(values: Floats, weight: float) -> Floats:
    """Return the exponential moving average without the bias of its start, as TensorBoard and W&B draw it.

    ``m_t = weight * m_(t-1) + (1 - weight) * x_t`` and of that ``m_t / (1 - weight ** t)``. Readings that are not
    finite are skipped, and have no average.

    Args:
        values: (n,).
        weight: of what came before, in [0, 1).

    >>> smoothed(np.array([1.0, 1.0, np.nan, 4.0]), 0.5).round(3).tolist()
    [1.0, 1.0, nan, 2.714]
    """
    import pandas as pd

    finite = np.where(np.isfinite(values), values, np.nan)
    averaged = pd.Series(finite).ewm(alpha=1 - weight, adjust=True, ignore_na=True).mean().to_numpy()
    return np.where(np.isnan(finite), np.nan, averaged)
