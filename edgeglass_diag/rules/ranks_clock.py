"""Which steps of several ranks are the same step, by the collective operations that all of them take part in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

Clock = Mapping[int, float]
"""By own step of a rank the number of collective operations of its process before it."""
Partners = Mapping[int, int | None]
"""By own step of a rank the step of the lowest rank that is the same, None where that has none."""


@dataclass(frozen=True)
class Lag:
    """How many steps fewer than the lowest rank a rank has taken.

    Attributes:
        since: first own step of the rank at which its number of collective operations is another one.
        steps: number of steps, below 0 where it has taken more.
        windows: number of compared steps at which that was so, up to the newest.
    """

    since: int
    steps: int
    windows: int


def lag(first: Clock, other: Clock) -> Lag | None:
    """Return by how many steps a rank is behind the lowest one; None where it is not, or nothing tells.

    A rank that has skipped a step has seen more operations at the same number of steps. Ranks that do not share each
    operation, as those of a pipeline that send to each other, count differently with each step: that is no clock.

    Steps are counted by those of both ranks that are the same, and by the operations of a step where none are known.

    Args:
        first: of the lowest rank.
        other: of the other one.

    Example:
        >>> lag({0: 3, 1: 5, 2: 7, 3: 9}, {0: 3, 1: 7, 2: 9, 3: 11})
        Lag(since=1, steps=1, windows=3)
        >>> lag({0: 3, 1: 5, 2: 7, 3: 9}, {0: 3, 1: 6, 2: 9, 3: 12}) is None
        True
    """
    steps = sorted(first.keys() & other.keys())
    ahead = [other[step] - first[step] for step in steps]
    if not ahead or not ahead[-1] or not _is_common(steps, ahead):
        return None
    count = next((n for n, value in enumerate(reversed(ahead)) if not value), len(ahead))
    since = steps[-count]
    behind = _counted(first, other, since)
    if behind is None:
        rise = _rise(steps, first)
        behind = round(ahead[-1] / rise) if rise >= 1 else 0
    return Lag(since, behind, count) if behind else None


def _counted(first: Clock, other: Clock, since: int) -> int | None:
    """Return by how many steps the newest step that is known to be the same one has another number; None without one.

    Operations of no step, as the broadcast of weights at the end of a Join, do not count as steps then.
    """
    known = _by_part(first)
    exact = [known[place] - step for place, step in _by_part(other).items() if place in known and step >= since]
    return exact[-1] if exact else None


def partners(first: Clock, other: Clock) -> Partners:
    """Return which steps of a rank are which of the lowest one, from the first on that is not the same; else empty.

    Example:
        >>> partners({0: 3, 1: 5, 2: 7, 3: 9}, {0: 3, 1: 7, 2: 9, 3: 11})
        {1: 2, 2: 3, 3: None}
    """
    steps = sorted(first.keys() & other.keys())
    ahead = [other[step] - first[step] for step in steps]
    apart = next((step for step, value in zip(steps, ahead, strict=True) if value), None)
    if apart is None or not _is_common(steps, ahead):
        return {}
    known = _by_part(first)
    return {step: known.get(place) for place, step in _by_part(other).items() if step >= apart}


def _is_common(steps: Sequence[int], ahead: Sequence[float]) -> bool:
    """Return whether two ranks count the same operations: from one step to another they have counted equally many."""
    return len(steps) > 1 and any(one == other for one, other in pairwise(ahead))


def _rise(steps: Sequence[int], clock: Clock) -> float:
    """Return the operations of a step, 0 where a step without any is among them."""
    rises = [(clock[b] - clock[a]) / (b - a) for a, b in pairwise(steps) if clock[b] >= clock[a]]
    return 0.0 if not rises or min(rises) < 1 else median(rises)


def _by_part(clock: Clock) -> dict[tuple[int, float], int]:
    """Return the step at each count, by the process that counted; counts at which several steps were taken are out."""
    found: dict[tuple[int, float], int] = {}
    several: set[tuple[int, float]] = set()
    part, before = 0, -1.0
    for step, count in sorted(clock.items()):
        part += count < before  # a process that goes on begins at 0
        several |= {(part, count)} & found.keys()
        found[part, count], before = step, count
    return {place: step for place, step in found.items() if place not in several}
