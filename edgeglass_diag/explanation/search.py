"""Find the settings that cure a failing run or make a healthy one fail: counts over seeds, minimal sets by ddmin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

Changed = frozenset[str]


@dataclass(frozen=True, slots=True)
class Count:
    """How many of the replays of one change came out as asked, of how many."""

    hits: int
    of: int

    @property
    def holds(self) -> bool:
        """Return whether the change does it: in most of the replays, and in one at least."""
        return self.of > 0 and 2 * self.hits > self.of

    @property
    def is_flaky(self) -> bool:
        """Return whether seeds disagree."""
        return 0 < self.hits < self.of

    def __str__(self) -> str:
        return f"{self.hits}/{self.of}"


Ask = Callable[[Sequence[Changed]], dict[Changed, "Count | None"]]
"""Replays sets of changes, side by side where it can; None for sets that do not fit together or came too late."""


@dataclass(frozen=True, slots=True)
class Found:
    """One direction of a search.

    Attributes:
        singles: what each change does alone.
        sets: the smallest sets that do it: every change that does it alone or, where none does, one set of which no
            element can be left out (of those that are needed not even with all the others).
        counts: of the sets.
        whole: what all changes do together.
        flaky: sets on which the seeds disagree.
    """

    singles: dict[str, Count | None]
    sets: list[Changed]
    counts: dict[Changed, Count]
    whole: Count | None
    flaky: list[Changed]


def search(names: Iterable[str], ask: Ask, *, needed: Iterable[str] = ()) -> Found:
    """Return the smallest sets of changes that do what all together do.

    First each alone, because the answer for each is wanted anyway, then those that are needed together, then delta
    debugging over all: from the whole set, chunks and complements, until no single element can be left out.

    Source: Simplifying and Isolating Failure-Inducing Input, https://doi.org/10.1109/32.988498 (ddmin). Sets that do
    not fit together count as not doing it, as the paper's unresolved outcomes do.

    Args:
        names: the changes.
        ask: the oracle, which remembers what it was asked.
        needed: changes without which not even all others together do it. Where these do it there is nothing to search.
    """
    every = sorted(names)
    whole = frozenset(every)
    answers = ask([whole, *(frozenset({name}) for name in every)])
    singles = {name: answers[frozenset({name})] for name in every}
    alone = [frozenset({name}) for name, count in singles.items() if count is not None and count.holds]
    together = answers[whole]
    sets = alone
    if not alone and together is not None and together.holds:
        core = frozenset(needed)
        count = ask([core])[core] if core else None
        sets = [core if count is not None and count.holds else ddmin(every, ask)]
    answers |= ask(sets)
    counts = {each: count for each in sets if (count := answers[each]) is not None}
    flaky = [each for each, count in answers.items() if count is not None and count.is_flaky]
    return Found(singles, sets, counts, together, flaky)


def ddmin(names: Sequence[str], ask: Ask) -> Changed:
    """Return a set of changes that does it and of which no single element can be left out; all together must do it.

    Where the oracle answers None, from some point on or for some sets, the set may be larger than needed.
    """
    kept, parts = sorted(names), 2
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        chunks = [frozenset(kept[i : i + size]) for i in range(0, len(kept), size)]
        rests = [frozenset(kept) - chunk for chunk in chunks] if len(chunks) > 2 else []
        answers = ask([*chunks, *rests])
        doing = next((each for each in (*chunks, *rests) if (c := answers[each]) is not None and c.holds), None)
        if doing is not None:
            parts = 2 if doing in chunks else max(2, len(chunks) - 1)
            kept = sorted(doing)
        elif len(chunks) == len(kept):
            break
        else:
            parts = min(len(kept), 2 * parts)
    return frozenset(kept)
