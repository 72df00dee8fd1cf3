"""Sets of points in time as sorted lists of disjoint intervals (start, end)."""

from __future__ import annotations

from collections.abc import Iterable

Interval = tuple[float, float]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the union of intervals.

    Example:
        >>> union([(3, 5), (0, 1), (4, 6)])
        [(0, 1), (3, 6)]
    """
    joined: list[Interval] = []
    for start, end in sorted(intervals):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        elif end > start:
            joined.append((start, end))
    return joined


def minus(these: Iterable[Interval], others: Iterable[Interval]) -> list[Interval]:
    """Return the parts of ``these`` that lie in none of the ``others``.

    Example:
        >>> minus([(0, 10)], [(2, 3), (9, 12)])
        [(0, 2), (3, 9)]
    """
    cuts = union(others)
    left: list[Interval] = []
    at = 0
    for start, end in union(these):
        while at < len(cuts) and cuts[at][1] <= start:
            at += 1
        k = at
        while k < len(cuts) and cuts[k][0] < end:
            if cuts[k][0] > start:
                left.append((start, cuts[k][0]))
            start = max(start, cuts[k][1])
            k += 1
        if start < end:
            left.append((start, end))
    return left


def clipped(these: Iterable[Interval], window: Interval) -> list[Interval]:
    """Return the parts of ``these`` within a window.

    Example:
        >>> clipped([(0, 4), (6, 9)], (3, 7))
        [(3, 4), (6, 7)]
    """
    cut = [(max(a, window[0]), min(b, window[1])) for a, b in these]
    return [(a, b) for a, b in cut if a < b]


def total(these: Iterable[Interval]) -> float:
    """Return the sum of the lengths of disjoint intervals."""
    return sum(b - a for a, b in these)
