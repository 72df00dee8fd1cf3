"""Which readings of a long series are kept, in memory and in a store, and what is told of it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from edgeglass_diag.signals.signal import Signal

FIRST, BETWEEN, NEWEST = 64, 64, 128
"""Readings that are kept: how it began, and how it stands, whole; of what lies between them some, evenly by step."""

MOST = 384
"""Readings at which a series is thinned to the sum of these: once in 128 windows."""


def kept_indices(steps: Sequence[int]) -> list[int]:
    """Return the indices of the readings that are kept, rising; all of a series that is short enough.

    Args:
        steps: of its readings, rising.

    Example:
        >>> steps = range(0, 10_000, 10)
        >>> [steps[index] for index in kept_indices(steps)][62:68], len(kept_indices(steps))
        ([620, 630, 640, 770, 900, 1020], 256)
    """
    count = len(steps)
    if count <= FIRST + BETWEEN + NEWEST:
        return list(range(count))
    begin, end = FIRST, count - NEWEST
    first, last = steps[begin], steps[end]
    marks = (first + (last - first) * number // BETWEEN for number in range(BETWEEN))
    between = dict.fromkeys(bisect_left(steps, mark, begin, end) for mark in marks)
    return [*range(begin), *between, *range(end, count)]


@dataclass(frozen=True, slots=True)
class ThinnedSignal:
    """A signal of which old windows are left out. Those that are kept have all their readings, as they were measured.

    Attributes:
        signal: its path.
        kept: windows that are in the store.
        recorded: windows that were recorded.
        whole_until: step up to which each recorded window is kept.
        whole_since: step from which on each recorded window is kept.
    """

    signal: Signal
    kept: int
    recorded: int
    whole_until: int
    whole_since: int
