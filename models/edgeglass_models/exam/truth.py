"""Whether a case is ill, by its program's own measure against the healthy twin's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from statistics import fmean, stdev

TEST_SIZE = 128
"""Held-out samples of the smallest test set among the programs."""

STANDARD_ERRORS = 3.0
SEEDS = 3
"""Trainings of an ill case, and of its twin with the same seeds."""


class Truth(StrEnum):
    """What a case is."""

    ILL = "ill"
    HARMLESS = "harmless"
    UNCLEAR = "unclear"
    NO_CHANGE = "no change"
    CRASHED = "crashed"


def margin(healthy: Sequence[float]) -> float:
    """Return how far the mean over the seeds must fall to be more than noise.

    Two means over ``SEEDS`` trainings of the same kind differ with a standard error of s sqrt(2 / SEEDS); three of
    them are the margin. s is the spread of the healthy measures, or, where that is larger, the binomial one of a share
    p of ``TEST_SIZE`` samples, sqrt(p (1 - p) / TEST_SIZE) with Agresti and Coull's p = (hits + 2) / (n + 4): five
    healthy trainings that are all right on every sample do not prove that there is no spread.

    >>> round(margin([1.0, 1.0, 1.0, 1.0, 1.0]), 3), round(margin([0.5, 0.5, 0.5, 0.5, 0.5]), 3)
    (0.026, 0.108)
    """
    share = (min(max(fmean(healthy), 0.0), 1.0) * TEST_SIZE + 2) / (TEST_SIZE + 4)
    binomial = math.sqrt(share * (1 - share) / TEST_SIZE)
    spread = stdev(healthy) if len(healthy) > 1 else 0.0
    return STANDARD_ERRORS * math.sqrt(2 / SEEDS) * max(spread, binomial)


def may_be_ill(measure: float, healthy: Sequence[float]) -> bool:
    """Return whether one training is worse than the worst healthy one with one of the seeds of the exam."""
    return measure < min(healthy[:SEEDS])


def truth_of(measures: Sequence[float], healthy: Sequence[float]) -> Truth:
    """Return what a case is.

    Ill: all of its measures are below the worst healthy one, and their mean is more than the margin below. That all of
    three are below all of three happens by chance once in 20, and so does not suffice. Harmless: the first of them is
    not below the worst healthy one. Unclear: anything between; that is neither a miss nor a false alarm.

    Args:
        measures: of the case by seed, one where the first told enough.
        healthy: of the twin by seed, at least as many as ``SEEDS``.

    >>> truth_of([0.1, 0.2, 0.1], [0.8, 0.9, 0.8]), truth_of([0.8], [0.8, 0.9, 0.8])
    (<Truth.ILL: 'ill'>, <Truth.HARMLESS: 'harmless'>)
    >>> truth_of([0.1, 0.9, 0.9], [0.8, 0.9, 0.8]), truth_of([0.79, 0.79, 0.79], [0.8, 0.9, 0.8])
    (<Truth.UNCLEAR: 'unclear'>, <Truth.UNCLEAR: 'unclear'>)
    """
    if not may_be_ill(measures[0], healthy):
        return Truth.HARMLESS
    if len(measures) < SEEDS or not all(may_be_ill(one, healthy) for one in measures):
        return Truth.UNCLEAR
    return Truth.ILL if fmean(healthy[:SEEDS]) - fmean(measures) > margin(healthy) else Truth.UNCLEAR
