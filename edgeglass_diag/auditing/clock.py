"""The time of each row: steps that go on, steps that begin anew in each epoch, epochs, or the number of the row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

REGULAR = 3
"""Falls to the same first value from which on a step counts within epochs, where no epoch is logged."""


def times(steps: Sequence[float | None], epochs: Sequence[float | None], length: int) -> tuple[int, ...]:
    """Return the step of each row, else its epoch, else its number; a clock that stands still or has parts is none.

    Steps that begin anew in each epoch go on from the last one.
    """
    clock: Sequence[float | None] = next((one for one in (steps, epochs) if _tells(one)), ())
    known = [*clock, *[None] * (length - len(clock))]
    found = [row if v is None or not math.isfinite(v) else int(v) for row, v in enumerate(known)]
    if clock is not steps or not counts_within_epochs(steps, epochs):
        return tuple(found)
    offset, unrolled, stride = 0, found[:1], 1
    for before, after in pairwise(found):
        if after < before:
            offset += before + stride - min(after, stride)
        else:
            stride = max(1, after - before)
        unrolled.append(after + offset)
    return tuple(unrolled)


def _tells(clock: Sequence[float | None]) -> bool:
    known = [v for v in clock if v is not None and math.isfinite(v)]
    whole = all(float(v).is_integer() for v in known)
    return bool(known) and whole and (len(known) == 1 or len(set(known)) > 1)


def counts_within_epochs(steps: Sequence[float | None], epochs: Sequence[float | None]) -> bool:
    """Return whether a step falls, and only where an epoch begins; or again and again to the same value.

    Example:
        >>> counts_within_epochs([0, 50, 0, 50], [1, 1, 2, 2]), counts_within_epochs([0, 50, 0, 50], [])
        (True, False)
    """
    known = [(i, v) for i, v in enumerate(steps) if v is not None and math.isfinite(v)]
    falls = [(i, j) for (i, v), (j, w) in pairwise(known) if w < v]
    if not falls:
        return False
    if len(epochs) == len(steps):
        pairs = [(epochs[i], epochs[j]) for i, j in falls]
        return all(a is not None and b is not None and b > a for a, b in pairs)
    first = {steps[j] for _, j in falls}
    return len(falls) >= REGULAR and len(first) == 1 and known[0][1] in first
