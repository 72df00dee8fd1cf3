"""The smallest sets of changes with an effect, also where there are too many changes to try each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from edgeglass_diag.replaying.search import Count, Oracle, SearchResult, Subset, ddmin, search

MOST_ALONE = 16
"""Changes up to which each is tried alone. One cause among n costs ddmin 2 log2 n sets: from here on less than half as
many."""


def smallest_sets(keys: Collection[str], oracle: Oracle, *, needed: Iterable[str] = ()) -> SearchResult:
    """Return the smallest sets of changes that have the effect of all together.

    Of more than ``MOST_ALONE`` changes one set is searched, and only its changes are tried alone.

    Args:
        keys: names of the changes.
        oracle: counts the replays of sets of changes that have the effect.
        needed: changes without which all others together do not have the effect.
    """
    if len(keys) <= MOST_ALONE:
        return search(keys, oracle, needed=needed)
    asked: dict[Subset, Count | None] = {}

    def remembered(sets: Sequence[Subset]) -> dict[Subset, Count | None]:
        found = oracle(sets)
        asked.update(found)
        return found

    def holds(each: Subset) -> bool:
        count = remembered([each])[each]
        return count is not None and count.holds

    core, found = Subset(needed), []
    if holds(Subset(keys)):
        found = [core if core and holds(core) else ddmin(sorted(keys), remembered)]
    alone = {key: Subset({key}) for each in found for key in sorted(each)}
    remembered([*found, *alone.values()])
    singles = {key: asked[each] for key, each in alone.items()}
    counts = {each: count for each in found if (count := asked[each]) is not None}
    flaky = [each for each, count in asked.items() if count is not None and count.is_flaky]
    return SearchResult(singles, found, counts, flaky)
