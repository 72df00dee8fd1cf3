"""The lines by which a program became ill, among all that one revision changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edgeglass_diag.replaying.revisions.git import git
from edgeglass_diag.replaying.revisions.lines import Hunk, locate, taken_back
from edgeglass_diag.replaying.revisions.patches import FileDifference, parse, patch_of
from edgeglass_diag.replaying.revisions.smallest import smallest_sets
from edgeglass_diag.replaying.revisions.worktrees import WORKING_TREE, State, Worktrees
from edgeglass_diag.replaying.search import Count, SearchResult, Subset

StateOracle = Callable[[State], Count | None]
"""Counts the replays of a state that are ill; None if its patch does not apply, it does not run, or the budget is
spent."""

_AS_PLAIN_TEXT = (
    "--unified=0", "--inter-hunk-context=0", "--binary", "--full-index", "--find-renames", "--no-ext-diff",
    "--no-textconv", "--no-color", "--src-prefix=a/", "--dst-prefix=b/", "--submodule=diff", "--no-relative",
)  # fmt: skip


@dataclass(frozen=True)
class Blame:
    """Which changes of a revision make a program ill.

    Attributes:
        hunks: all changes, by their keys, which are the names in the results.
        healthy: ill replays without any of them.
        ill: ill replays with all of them.
        cures: sets that cure if they alone are taken back; their counts are healthy replays.
        made_ill: sets that make it ill alone; their counts are ill replays.
        at_present: healthy replays of the present program with a set of ``cures`` taken back, where the ill revision
            is an earlier one; None where its lines have changed since.
    """

    hunks: Mapping[str, Hunk]
    healthy: Count | None
    ill: Count | None
    cures: SearchResult
    made_ill: SearchResult
    at_present: Mapping[Subset, Count | None] = field(default_factory=dict)

    def names(self, found: Subset) -> list[str]:
        """Return a set of changes as an answer names them, by their lines at present: ``perceiver.py:126-127``."""
        return [hunk.name for key, hunk in self.hunks.items() if key in found]


def difference(trees: Worktrees, good: str, bad: str) -> list[FileDifference]:
    """Return what one revision changes of another.

    Args:
        trees: of the repository.
        good: hash of a commit.
        bad: hash of a commit, or ``WORKING_TREE``.

    Raises:
        RevisionError: if one cannot be checked out.
    """
    with trees.bare(State(bad)) as place:
        revisions = [good] if bad == WORKING_TREE else [good, bad]
        return parse(git(place, "diff", *_AS_PLAIN_TEXT, *revisions, "--"))


def blame_hunks(trees: Worktrees, good: str, bad: str, oracle: StateOracle) -> Blame:
    """Return which changes between a healthy revision and an ill one make it ill, by delta debugging both ways.

    Taken back: the ill revision without a set of changes; alone: the healthy one with it. Sets that do not apply or do
    not run are neither. Nothing is searched unless the first is healthy and the second ill.

    Args:
        trees: of the program's repository.
        good: hash of a healthy commit.
        bad: hash of an ill one, or ``WORKING_TREE``.
        oracle: counts the ill replays of a state; each is asked for once.

    Raises:
        RevisionError: if one of the two cannot be checked out.
    """
    files = difference(trees, good, bad)
    changes = [change for file in files for change in file.changes]
    keys = frozenset(change.key for change in changes)
    counted: dict[Subset, Count | None] = {}

    def ill(made: Subset) -> Count | None:
        if made not in counted:
            counted[made] = oracle(State(bad) if made == keys else State(good, patch_of(files, made)))
        return counted[made]

    def makes_ill(sets: Sequence[Subset]) -> dict[Subset, Count | None]:
        return {each: ill(each) for each in sets}

    def cures(sets: Sequence[Subset]) -> dict[Subset, Count | None]:
        return {each: _healthy(ill(keys - each)) for each in sets}

    present = trees.present()
    later = [] if bad == present else difference(trees, bad, present)
    hunks = locate(changes, later, bad)
    without, with_all = ill(Subset()), ill(keys)
    if without is None or with_all is None or without.holds or not with_all.holds:
        nothing = SearchResult({}, [], {}, [])
        return Blame(hunks, without, with_all, nothing, nothing)
    cured = smallest_sets(keys, cures)
    needed = [key for key, count in cured.singles.items() if count is not None and count.holds]
    made_ill = smallest_sets(keys, makes_ill, needed=needed)
    at_present: dict[Subset, Count | None] = {}
    for found in cured.sets if bad != present else ():
        patch = taken_back([hunks[key] for key in found], later)
        at_present[found] = None if patch is None else _healthy(oracle(State(present, patch)))
    return Blame(hunks, without, with_all, cured, made_ill, at_present)


def _healthy(count: Count | None) -> Count | None:
    return None if count is None else Count(count.of - count.hits, count.of)
