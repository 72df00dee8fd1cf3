"""Where runs part: the first step at which each signal differs between them, by site. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeglass_diag.signals import Signal, recorded
from edgeglass_diag.store import Run
from edgeglass_diag.store.matrix import Matrix
from edgeglass_diag.store.pieces import EXACT, spans

ROUNDING = 2.0**-20
"""Relative difference up to which numbers count as equal: 8 times the rounding of float32, as which they are read."""
APART = 0.5
"""Share of the larger one that the difference is where one is twice the other, or their signs differ."""

_ORDER = (
    "data",
    "activation",
    "attention",
    "operand",
    "embedding",
    "pairing",
    "loss",
    "gradient",
    "optimizer",
    "update",
    "weight",
)
"""Families in the order in which a step gives rise to them; others are behind."""


@dataclass(frozen=True, slots=True)
class Parting:
    """A signal at a site that differs between runs.

    Attributes:
        signal: what differs.
        site: where; ``""`` for the run as a whole.
        differs: first step at which the runs have different values, beyond rounding.
        values: those of the runs at that step.
        apart: first step at which one is twice another, or their signs differ; None where that never is.
    """

    signal: Signal
    site: str
    differs: int
    values: tuple[float, ...]
    apart: int | None


@dataclass(frozen=True, slots=True)
class Partings:
    """All that differs, the first first; ``compared`` counts the signals at sites, those that are equal among them."""

    found: tuple[Parting, ...]
    compared: int

    @property
    def equal(self) -> int:
        """Signals at sites that have the same values in all runs at all steps."""
        return self.compared - len(self.found)


def partings(runs: Sequence[Run]) -> Partings:
    """Compare every signal at every site that all runs have, at the steps that all recorded.

    What differs at the same step is in the order in which a step gives rise to it: data, modules in order of execution,
    losses, gradients, updates. NaN is equal to NaN alone.

    Args:
        runs: two or more.
    """
    position: dict[str, int] = {}
    for site in runs[0].sites:
        position.setdefault(site.path, len(position))
    found: list[Parting] = []
    compared = 0
    for name in sorted(set.intersection(*({str(signal) for signal in run.signals} for run in runs))):
        signal = recorded(name)
        if signal is None:
            continue
        rows, number = _of_signal(runs, signal)
        found += rows
        compared += number

    def order(parting: Parting) -> tuple[int, int, int, str]:
        family = parting.signal.family
        stage = _ORDER.index(family) if family in _ORDER else len(_ORDER)
        return parting.differs, stage, position.get(parting.site, len(position)), str(parting.signal)

    return Partings(tuple(sorted(found, key=order)), compared)


@dataclass(slots=True)
class _Course:
    """What was seen of a site so far: whether all runs have a reading of a step, and where they part."""

    known: bool = False
    differs: tuple[int, tuple[float, ...]] | None = None
    apart: int | None = None


def _of_signal(runs: Sequence[Run], signal: Signal) -> tuple[list[Parting], int]:
    of_runs = [run.sites_of(signal) for run in runs]
    common = set.intersection(*map(set, of_runs))
    courses = {site: _Course() for site in of_runs[0] if site in common}
    sites = list(courses)
    for span in spans(runs, signal, len(sites)) if sites else ():
        _follow(courses, [run.matrix(signal, bins=EXACT, sites=sites, steps=span) for run in runs])
    found = [Parting(signal, site, *course.differs, course.apart) for site, course in courses.items() if course.differs]
    return found, sum(course.known for course in courses.values())


def _follow(courses: dict[str, _Course], matrices: Sequence[Matrix]) -> None:
    """Take the next steps of all runs."""
    steps = np.array(sorted(set.intersection(*(set(matrix.edges) for matrix in matrices))), np.int64)
    if not len(steps):
        return
    values, known = _aligned(matrices, list(courses), steps)
    differ, apart = (where & known for where in differences(values))
    for row, course in enumerate(courses.values()):
        course.known = course.known or bool(known[row].any())
        if course.differs is None and differ[row].any():
            first = int(differ[row].argmax())
            course.differs = int(steps[first]), tuple(values[:, row, first].tolist())
        if course.apart is None and apart[row].any():
            course.apart = int(steps[apart[row].argmax()])


def _aligned(
    matrices: Sequence[Matrix], sites: Sequence[str], steps: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Values (runs, sites, steps), and where all runs have one (sites, steps)."""
    values, known = [], np.ones((len(sites), len(steps)), bool)
    for matrix in matrices:
        place = {site: row for row, site in enumerate(matrix.sites)}
        rows = np.array([place[site] for site in sites])
        columns = np.searchsorted(matrix.edges, steps)
        cells = np.ix_(rows, columns)
        values.append(np.where(matrix.nans[cells] > 0, np.nan, matrix.high[cells]).astype(np.float64))
        known &= matrix.count[cells] > 0
    return np.stack(values), known


def differences(values: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where values of runs differ beyond rounding, and where one is twice another or has another sign.

    Args:
        values: (runs, ...).

    >>> differs, apart = differences(np.array([[1.0, 1.0, 1.0, np.nan, np.inf], [1.0, 1.1, 2.0, 1.0, np.inf]]))
    >>> differs.tolist(), apart.tolist()
    ([False, True, True, True, False], [False, False, True, True, False])
    """
    lost = np.isnan(values)
    same = (values == values[0]).all(axis=0) | lost.all(axis=0)
    mixed = lost.any(axis=0) & ~lost.all(axis=0)
    with np.errstate(invalid="ignore"):
        gap = np.nan_to_num(values.max(axis=0) - values.min(axis=0), nan=np.inf)
        size = np.nan_to_num(np.abs(values).max(axis=0), nan=0.0, posinf=np.finfo(np.float64).max)
    differs = ~same & ((gap > ROUNDING * size) | mixed)
    return differs, ~same & ((gap >= APART * size) | mixed)
