"""The processes of one run beside each other: each as a line of its own, many of them as their spread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from edgeglass_diag.figures.reduced import Floats, Ints

EACH = 8
"""Processes that are drawn one by one; of more the lowest, the median and the highest are drawn."""
PARTS = ("median", "highest", "lowest")

Place = tuple[str, Ints, Floats]
"""Words, steps and values of a line."""


class Readings(Protocol):
    """Readings by step: steps rising, and one number of each."""

    @property
    def steps(self) -> Ints:
        """Steps, (readings,)."""

    @property
    def values(self) -> Floats:
        """Values, (readings,)."""


def spread_of(series: Mapping[int, Readings], site: str) -> list[Place]:
    """Return the median, the highest and the lowest of some series at each step that one of them has.

    Args:
        series: by rank, each with readings.
        site: their place, which stands before the words.

    >>> from edgeglass_diag.store.series import Series
    >>> two = {0: Series(np.array([1, 2]), np.array([1.0, 4.0])), 1: Series(np.array([1, 2]), np.array([3.0, 2.0]))}
    >>> [(words, values.tolist()) for words, _, values in spread_of(two, "")][1:]
    [('highest of 2 ranks, last rank 0', [3.0, 4.0]), ('lowest of 2 ranks, last rank 1', [1.0, 2.0])]
    """
    if not series:
        return []
    steps = np.unique(np.concatenate([one.steps for one in series.values()]))
    values, measured = np.full((len(series), len(steps)), np.nan), np.zeros((len(series), len(steps)), bool)
    for row, one in enumerate(series.values()):
        places = np.searchsorted(steps, one.steps)
        values[row, places], measured[row, places] = one.values, True
    known = ~np.isnan(values).all(axis=0)
    lost = (measured & np.isnan(values)).any(axis=0)
    low, middle, high = (np.full(len(steps), np.nan) for _ in range(3))
    low[known] = np.nanmin(values[:, known], axis=0)
    middle[known] = np.nanmedian(values[:, known], axis=0)
    high[known] = np.nanmax(values[:, known], axis=0)
    high[lost] = np.nan
    ranks = list(series)
    newest = values[:, -1]
    at_the_top = np.isnan(newest) & measured[:, -1] if lost[-1] else newest == np.nanmax(newest)
    above = ranks[int(np.argmax(at_the_top))]
    below = ranks[int(np.nanargmin(newest))] if known[-1] else above
    before = f"{site}, " if site else ""
    named = {"median": "", "highest": f", last rank {above}", "lowest": f", last rank {below}"}
    return [
        (f"{before}{part} of {len(ranks)} ranks{named[part]}", steps, line)
        for part, line in zip(PARTS, (middle, high, low), strict=True)
    ]


def lines_of_ranks(series: Mapping[int, Readings]) -> list[Place]:
    """Return a line for each of few ranks, and the spread of many."""
    if len(series) > EACH:
        return spread_of(series, "")
    return [(f"rank {rank}", one.steps, one.values) for rank, one in series.items()]
