"""Search for the smallest sets of changes with an effect: counts over seeds, sets by delta debugging (ddmin)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

Subset = frozenset[str]
"""Names of changes that are made together."""


@dataclass(frozen=True, slots=True)
class Count:
    """Number of replays of one set of changes that have the effect, ``hits`` of ``of``."""

    hits: int
    of: int

    @property
    def holds(self) -> bool:
        """Whether the changes have the effect: in more than half of the replays."""
        return self.of > 0 and 2 * self.hits > self.of

    @property
    def is_flaky(self) -> bool:
        """Return whether seeds disagree."""
        return 0 < self.hits < self.of

    def __str__(self) -> str:
        return f"{self.hits}/{self.of}"


Oracle = Callable[[Sequence[Subset]], dict[Subset, "Count | None"]]
"""Replays sets of changes and remembers them; None for incompatible sets, or after the budget is spent."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Changes that have the effect.

    Attributes:
        singles: count of each change alone.
        sets: the smallest sets with the effect: every change that has it alone or, if none has, one set of which no
            element can be left out.
        counts: counts of ``sets``.
        flaky: sets with the effect for some seeds only.
    """

    singles: dict[str, Count | None]
    sets: list[Subset]
    counts: dict[Subset, Count]
    flaky: list[Subset]


def search(names: Iterable[str], oracle: Oracle, *, needed: Iterable[str] = ()) -> SearchResult:
    """Return the smallest sets of changes that have the effect of all changes together.

    It tries each change alone, as each count is reported, then the needed ones together, then delta debugging: chunks
    and complements of the whole set, until no single element can be left out.

    Source: Simplifying and Isolating Failure-Inducing Input, https://doi.org/10.1109/32.988498 (ddmin). Incompatible
    sets count as without the effect, as the paper's unresolved outcomes do.

    Args:
        names: names of the changes.
        oracle: counts the replays of sets of changes that have the effect.
        needed: changes without which all others together do not have the effect; tried together before the search.
    """
    every = sorted(names)
    whole = frozenset(every)
    counted = oracle([whole, *(frozenset({name}) for name in every)])
    singles = {name: counted[frozenset({name})] for name in every}
    alone = [frozenset({name}) for name, count in singles.items() if count is not None and count.holds]
    together = counted[whole]
    sets = alone
    if not alone and together is not None and together.holds:
        core = frozenset(needed)
        count = oracle([core])[core] if core else None
        sets = [core if count is not None and count.holds else ddmin(every, oracle)]
    counted |= oracle(sets)
    counts = {each: count for each in sets if (count := counted[each]) is not None}
    flaky = [each for each, count in counted.items() if count is not None and count.is_flaky]
    return SearchResult(singles, sets, counts, flaky)


def ddmin(names: Sequence[str], oracle: Oracle) -> Subset:
    """Return a set of changes with the effect, of which no single element can be left out.

    All changes together must have the effect. The set may be larger than needed if the oracle returns None for
    some sets.
    """
    kept, parts = sorted(names), 2
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        chunks = [frozenset(kept[i : i + size]) for i in range(0, len(kept), size)]
        rests = [frozenset(kept) - chunk for chunk in chunks] if len(chunks) > 2 else []
        counted = oracle([*chunks, *rests])
        smaller = next((each for each in (*chunks, *rests) if (c := counted[each]) is not None and c.holds), None)
        if smaller is not None:
            parts = 2 if smaller in chunks else max(2, len(chunks) - 1)
            kept = sorted(smaller)
        elif len(chunks) == len(kept):
            break
        else:
            parts = min(len(kept), 2 * parts)
    return frozenset(kept)
