"""What several ranks have recorded, side by side."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from edgeglass_diag.records import Reading
from edgeglass_diag.rules.ranks_clock import Clock, Partners, partners
from edgeglass_diag.signals.ranks import COLLECTIVES, WEIGHT_DIGEST
from edgeglass_diag.signals.signal import Signal

ByRank = Mapping[int, float]
"""The values of one reading by rank."""
Details = Callable[[Signal, int], Mapping[str, ByRank]]
"""Returns the readings of a signal at one step, by site."""


class RankHistory:
    """The readings that rules across ranks ask for, of each step that at least two ranks have recorded.

    A rank that lags, or has died, is compared as far as its record goes. Steps have the numbers of the lowest rank.
    Where another one has taken more or fewer steps, those of its steps are compared that are the same by the collective
    operations before them, and others are not. Operations are also counted that not all ranks take part in, as what one
    sends to another: steps keep their numbers where the weights are the same by these.

    Args:
        details: reads what is looked at only where ranks differ.
    """

    def __init__(self, details: Details) -> None:
        self.details = details
        self.ranks: tuple[int, ...] = ()
        self.sharded = False
        self._values: defaultdict[tuple[Signal, str], dict[int, dict[int, float]]] = defaultdict(dict)
        self._partners: dict[int, Partners] = {}

    def add(self, rank: int, readings: Iterable[Reading]) -> None:
        """Take readings of a rank."""
        for reading in readings:
            self._values[reading.signal, reading.site].setdefault(reading.step, {})[rank] = reading.values[0]

    def align(self) -> None:
        """Find which steps are the same, once all readings are taken."""
        clocks = self.clocks
        first = clocks[min(clocks)] if clocks else {}
        found = {rank: partners(first, clock) for rank, clock in clocks.items() if clock is not first}
        self._partners = {}
        parted = {
            rank for rank, partner in found.items() if partner and self.weights_agree(rank, min(partner)) is False
        }
        self._partners = {rank: found[rank] for rank in parted}

    @property
    def realigned(self) -> frozenset[int]:
        """The ranks of which some step is another one than that of the same number."""
        return frozenset(self._partners)

    def weights_agree(self, rank: int, since: int) -> bool | None:
        """Return whether a rank has the weights of the lowest one, at the newest step of those that can be compared.

        Weights are those that both hold, so that a part which one rank alone trains does not matter.

        Args:
            rank: of the other one.
            since: step from which on.

        Returns:
            None where no weights of both are known, as of shards.
        """
        lowest = min(self.ranks)
        steps = [
            step for step, values in self.at(WEIGHT_DIGEST).items() if step >= since and {lowest, rank} <= set(values)
        ]
        if not steps:
            return None
        whole = self.at(WEIGHT_DIGEST)[steps[-1]]
        if whole[lowest] == whole[rank]:
            return True
        each = self.details(WEIGHT_DIGEST, steps[-1]).values()
        both = [values for values in each if {lowest, rank} <= set(values)]
        return all(values[lowest] == values[rank] for values in both) if both else None

    @property
    def clocks(self) -> dict[int, Clock]:
        """The numbers of collective operations before the steps of each rank, by its own steps."""
        found: dict[int, dict[int, float]] = {}
        for step, values in self.alone(COLLECTIVES).items():
            for rank, value in values.items():
                found.setdefault(rank, {})[step] = value
        return dict(sorted(found.items()))

    def alone(self, signal: Signal, site: str = "") -> dict[int, ByRank]:
        """Return the values by rank of all steps by the ranks' own numbers, in order."""
        steps = self._values.get((signal, site), {})
        return {step: steps[step] for step in sorted(steps)}

    def own_step(self, rank: int, step: int) -> int | None:
        """Return the number that a rank itself has given to a step; None where it is not known to have taken it."""
        known = self._partners.get(rank)
        if known is None or step < min(known):
            return step
        return next((own for own, partner in known.items() if partner == step), None)

    def of(self, signal: Signal) -> Iterator[tuple[str, dict[int, ByRank]]]:
        """Yield the sites of a signal, each with the values by rank of the steps that can be compared, in order."""
        for known, site in list(self._values):
            if known == signal:
                yield site, self.at(signal, site)

    def at(self, signal: Signal, site: str = "") -> dict[int, ByRank]:
        """Return the values by rank of the steps that can be compared, in order."""
        steps = self._values.get((signal, site), {})
        if self._partners:
            steps = self._aligned(steps)
        return {step: steps[step] for step in sorted(steps) if len(steps[step]) > 1}

    def _aligned(self, steps: Mapping[int, ByRank]) -> dict[int, dict[int, float]]:
        found: defaultdict[int, dict[int, float]] = defaultdict(dict)
        for step, values in steps.items():
            for rank, value in values.items():
                known = self._partners.get(rank)
                same = step if known is None or step < min(known) else known.get(step)
                if same is not None:
                    found[same][rank] = value
        return found

    def of_rank(self, signal: Signal, site: str, rank: int) -> list[float]:
        """Return what a rank has recorded at the steps that can be compared."""
        return [values[rank] for values in self.at(signal, site).values() if rank in values]

    def prune(self, most: int) -> None:
        """Keep the first quarter and the last three quarters of ``most`` steps of each series."""
        for steps in self._values.values():
            order = sorted(steps)
            for step in order[most // 4 : len(order) - 3 * most // 4] if len(order) > most else ():
                del steps[step]


def odd_ranks(values: ByRank, *, tolerance: float = 0.0) -> list[int]:
    """Return the ranks whose value is not that of most, of equally many not that of the lowest rank; NaN equals NaN.

    Args:
        values: by rank.
        tolerance: relative difference up to which values are equal.

    Example:
        >>> odd_ranks({0: 1.0, 1: 2.0}), odd_ranks({0: 1.0, 1: 2.0, 2: 2.0}), odd_ranks({0: 1.0, 1: 1.0})
        ([1], [0], [])
    """
    votes = Counter[int]()
    for rank in sorted(values):
        votes[rank] = sum(_equal(values[rank], other, tolerance) for other in values.values())
    usual = max(sorted(votes), key=lambda rank: votes[rank])
    return [rank for rank in sorted(values) if not _equal(values[usual], values[rank], tolerance)]


def _equal(one: float, other: float, tolerance: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return one == other or abs(one - other) <= tolerance * max(abs(one), abs(other))


def named(ranks: Iterable[int]) -> str:
    """Return ranks in words, of many the first eight.

    >>> named([1]), named([1, 2])
    ('rank 1', 'ranks 1, 2')
    """
    numbers = sorted(ranks)
    more = f" and {len(numbers) - 8} more" if len(numbers) > 8 else ""
    return f"{'rank' if len(numbers) == 1 else 'ranks'} {', '.join(map(str, numbers[:8]))}{more}"


def said(values: ByRank, form: str = ".6g") -> str:
    """Return values by rank in words, of many the first eight.

    >>> said({0: 1.0, 1: 2.5})
    'rank 0: 1, rank 1: 2.5'
    """
    shown = sorted(values.items())[:8]
    return ", ".join(f"rank {rank}: {value:{form}}" for rank, value in shown) + (", ..." if len(values) > 8 else "")
