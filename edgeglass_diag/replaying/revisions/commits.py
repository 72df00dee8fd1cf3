"""Bisection: the commit by which a program became ill, among those between a revision that learns and the present."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from edgeglass_diag.replaying.revisions.git import RevisionError, git
from edgeglass_diag.replaying.revisions.worktrees import WORKING_TREE, Worktrees
from edgeglass_diag.replaying.search import Count

Oracle = Callable[[str], Count | None]
"""Counts the replays of a revision that are ill; None if it does not run, or the budget is spent."""


class Ending(StrEnum):
    """How a bisection ended."""

    FOUND = "found"
    SAME = "both revisions have the same files"
    GOOD_IS_ILL = "the good revision is ill too"
    GOOD_IS_FLAKY = "seeds disagree on the good revision"
    GOOD_IS_UNRESOLVED = "the good revision does not run"
    PRESENT_IS_HEALTHY = "the present revision is healthy"
    PRESENT_IS_FLAKY = "seeds disagree on the present revision"
    PRESENT_IS_UNRESOLVED = "the present revision does not run"
    CURED_ELSEWHERE = "ill already where the good revision branched off"
    BRANCHING_IS_UNDECIDED = "undecided where the good revision branched off"


@dataclass(frozen=True)
class Bisection:
    """Result of a bisection.

    Attributes:
        ending: how it ended.
        good: the last revision that is healthy, before the suspects.
        bad: the first that is ill: the last of the suspects.
        suspects: revisions of which one made the program ill; one alone unless those between do not run or are flaky.
        counts: ill replays of each revision that was tried, in the order of the trials.
    """

    ending: Ending
    good: str
    bad: str
    suspects: tuple[str, ...] = ()
    counts: Mapping[str, Count | None] = field(default_factory=dict)

    @property
    def flaky(self) -> list[str]:
        """Return the revisions on which seeds disagree."""
        return [revision for revision, count in self.counts.items() if count is not None and count.is_flaky]

    @property
    def unresolved(self) -> list[str]:
        """Return the revisions that do not run, or for which the budget did not last."""
        return [revision for revision, count in self.counts.items() if count is None]


class _Tried:
    """Verdicts of revisions, each asked for once."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self.counts: dict[str, Count | None] = {}

    def is_ill(self, revision: str) -> bool | None:
        """Return whether all replays are ill; None if seeds disagree, or if it does not run."""
        if revision not in self.counts:
            self.counts[revision] = self._oracle(revision)
        count = self.counts[revision]
        return None if count is None or count.of == 0 or count.is_flaky else count.hits > 0

    def is_flaky(self, revision: str) -> bool:
        """Return whether seeds disagree."""
        count = self.counts[revision]
        return count is not None and count.is_flaky


def bisect(trees: Worktrees, good: str, oracle: Oracle, *, bad: str | None = None) -> Bisection:
    """Return the revision by which the program became ill.

    The first parents of the present are bisected; if the guilty one is a merge, then what it merged. A revision whose
    replays disagree is neither good nor bad, and one that does not run is passed over, as by ``git bisect skip``. As
    there, what comes before a good revision counts as good.

    Args:
        trees: of the program's repository.
        good: a revision in which it learns, by any name that git knows.
        oracle: counts the ill replays of a revision: a hash, or ``WORKING_TREE``.
        bad: an ill revision; the user's working tree if None.

    Raises:
        RevisionError: if there is no such revision, or nothing in common between the two.
    """
    first, last = trees.commit(good), trees.present() if bad is None else trees.commit(bad)
    tried = _Tried(oracle)
    base = _common(trees, first, last)
    chain = changes_between(trees, base, last)
    ending = _fault_of_ends(tried, first, last) if chain else Ending.SAME
    if ending is None and base != first:
        is_ill = tried.is_ill(base)
        ending = None if is_ill is False else Ending.CURED_ELSEWHERE if is_ill else Ending.BRANCHING_IS_UNDECIDED
    if ending is not None:
        return Bisection(ending, first, last, counts=tried.counts)
    before, suspects = _narrow(base, chain, tried)
    while len(suspects) == 1 and (inner := _into_merge(trees, before, suspects[0], tried)) is not None:
        before, suspects = inner
    return Bisection(Ending.FOUND, before, suspects[-1], tuple(suspects), tried.counts)


def changes_between(trees: Worktrees, good: str, bad: str) -> list[str]:
    """Return the revisions after one until another that change a file, oldest first, along first parents.

    Raises:
        RevisionError: if git fails.
    """
    head = trees.overlay.head if bad == WORKING_TREE else bad
    words = ("rev-list", "--first-parent", "--reverse", "--format=%T", f"{good}..{head}")
    found = git(trees.tree, *words).split("\n")
    files = git(trees.tree, "rev-parse", f"{good}^{{tree}}").strip()
    changed = []
    for commit, its_files in zip(found[:-1:2], found[1::2], strict=True):
        if its_files != files:
            changed.append(commit.removeprefix("commit "))
        files = its_files
    return [*changed, WORKING_TREE] if bad == WORKING_TREE else changed


def _common(trees: Worktrees, good: str, bad: str) -> str:
    """Return the newest commit that both have; the good one itself if the other comes from it."""
    head = trees.overlay.head if bad == WORKING_TREE else bad
    try:
        return git(trees.tree, "merge-base", good, head).strip()
    except RevisionError:
        raise RevisionError(f"{good[:10]} and {head[:10]} have no commit in common, at least not here") from None


def _fault_of_ends(tried: _Tried, good: str, bad: str) -> Ending | None:
    """Return why there is nothing to bisect; None if the present is ill and the good revision is not."""
    ill = tried.is_ill(bad)
    if ill is None:
        return Ending.PRESENT_IS_FLAKY if tried.is_flaky(bad) else Ending.PRESENT_IS_UNRESOLVED
    if not ill:
        return Ending.PRESENT_IS_HEALTHY
    ill = tried.is_ill(good)
    if ill is None:
        return Ending.GOOD_IS_FLAKY if tried.is_flaky(good) else Ending.GOOD_IS_UNRESOLVED
    return Ending.GOOD_IS_ILL if ill else None


def _narrow(before: str, chain: Sequence[str], tried: _Tried) -> tuple[str, list[str]]:
    """Return the last healthy revision, and those after it until the first ill one; the last of the chain is ill."""
    low, high, passed = -1, len(chain) - 1, 0
    while open_ := [n for n in range(low + 1, high) if chain[n] not in tried.counts]:
        aim = low + (high - low) * _spread(passed + 1)
        middle = min(open_, key=lambda n: abs(n - aim))
        ill = tried.is_ill(chain[middle])
        passed = passed + 1 if ill is None else 0
        if ill:
            high = middle
        elif ill is not None:
            low = middle
    return chain[low] if low >= 0 else before, list(chain[low + 1 : high + 1])


def _spread(count: int) -> float:
    """Return 1/2, 1/4, 3/4, 1/8 ...: each revision that does not run moves the next far away from its neighbours.

    Source: van der Corput, Verteilungsfunktionen (1935), the sequence in base 2.
    """
    digits = f"{count:b}"[::-1]
    return int(digits, 2) / (1 << len(digits))


def _into_merge(trees: Worktrees, before: str, merge: str, tried: _Tried) -> tuple[str, list[str]] | None:
    """Return the same for the branch that brought the illness; None if the revision is no merge, or none did."""
    if merge == WORKING_TREE:
        return None
    parents = git(trees.tree, "rev-list", "--parents", "--max-count=1", merge).split()[2:]
    guilty = next((parent for parent in parents if tried.is_ill(parent)), None)
    if guilty is None:
        return None
    base = _common(trees, before, guilty)
    chain = changes_between(trees, base, guilty)
    return _narrow(base, chain, tried) if chain else None
