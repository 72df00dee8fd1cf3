"""The course of a noisy column: levels of a few rows each, and the noise of one row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEW = 30
"""Up to here levels are running medians of three rows; above they are medians of consecutive blocks."""
BLOCKS = 20
_NORMAL = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""


@dataclass(frozen=True)
class Course:
    """Levels of a column in the order of its rows.

    Attributes:
        steps: of the newest row of each level.
        levels: medians of ``width`` rows.
        width: rows of a level.
        noise: robust standard deviation of one row about its neighbours, 0 for fewer than three rows.
    """

    steps: tuple[int, ...]
    levels: tuple[float, ...]
    width: int
    noise: float

    @property
    def error(self) -> float:
        """Return the standard error of a level: that of a median of normal noise."""
        return self.noise * (1.2533 if self.width > 1 else 1.0) / math.sqrt(self.width)


def course(steps: Sequence[int], values: Sequence[float]) -> Course:
    """Return the course of a column; rows that are not finite are left out.

    Example:
        >>> course([0, 1, 2, 3, 4], [5.0, 4.0, 9.0, 2.0, 1.0]).levels
        (5.0, 4.0, 2.0)
    """
    rows = [(step, value) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
    kept, array = [step for step, _ in rows], np.array([value for _, value in rows])
    count = len(rows)
    if count < 5:
        return Course(tuple(kept), tuple(array.tolist()), 1, noise(array.tolist()))
    if count <= FEW:
        levels = np.median(np.lib.stride_tricks.sliding_window_view(array, 3), axis=1)
        return Course(tuple(kept[2:]), tuple(levels.tolist()), 3, noise(array.tolist()))
    edges = np.linspace(0, count, BLOCKS + 1).astype(int) if count >= 3 * BLOCKS else np.arange(0, count - 2, 3)
    ends = [*edges[1:].tolist()] if count >= 3 * BLOCKS else [*edges[1:].tolist(), count]
    starts = edges[: len(ends)].tolist()
    medians = [float(np.median(array[a:b])) for a, b in zip(starts, ends, strict=True)]
    return Course(tuple(kept[b - 1] for b in ends), tuple(medians), ends[0], noise(array.tolist()))


def noise(values: Sequence[float]) -> float:
    """Return the standard deviation of a row about a line through its neighbours, in which a trend has no part.

    The second difference of independent rows has six times their variance; of its absolute values the median is
    taken, so that a few spikes do not count.

    Example:
        >>> noise([1.0, 2.0, 3.0, 4.0, 50.0, 6.0, 7.0, 8.0, 9.0, 10.0])
        0.0
    """
    if len(values) < 3:
        return 0.0
    with np.errstate(all="ignore"):
        second = np.abs(np.diff(np.asarray(values, dtype=float), 2))
    return float(_NORMAL * np.median(second) / math.sqrt(6))


def thirds(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the medians of the first, the middle and the last third of at least three rows.

    Example:
        >>> thirds([1.0, 1.0, 2.0, 2.0, 9.0, 9.0])
        (1.0, 2.0, 9.0)
    """
    first, middle, last = (float(np.median(part)) for part in np.array_split(np.asarray(values, dtype=float), 3))
    return first, middle, last


def middle(values: Sequence[float]) -> float:
    """Return the median, NaN of nothing."""
    return float(np.median(np.asarray(values, dtype=float))) if len(values) else math.nan
