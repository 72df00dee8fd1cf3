"""A signal at all its sites and steps without a bound on either: piece by piece, each of so many cells at most."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from edgeglass_diag.signals import Signal
from edgeglass_diag.store.matrix import Span
from edgeglass_diag.store.reader import Run

EXACT = 10**9
"""More columns than a run has steps: each step has its own."""
MOST_CELLS = 2**20
"""Sites times steps that are read at once, some 24 bytes each and as many again for what is made of them."""


def spans(runs: Sequence[Run], signal: Signal, rows: int) -> list[Span]:
    """Return spans that hold all steps of a signal, rising, without a gap, each of at most ``MOST_CELLS`` cells.

    Steps alone are read for them. A span has one step at least, whatever the number of sites.

    Args:
        runs: that have recorded the signal.
        signal: what is read.
        rows: how many sites it is read at.
    """
    firsts: set[int] = set()
    last = -1
    for run in runs:
        steps = run.matrix(signal, bins=EXACT, sites=[])
        firsts.update(steps.edges[:: max(1, MOST_CELLS // max(1, rows))])
        last = max(last, steps.last_step)
    borders = [*sorted(firsts), last + 1]
    return [(first, after - 1) for first, after in pairwise(borders)]
