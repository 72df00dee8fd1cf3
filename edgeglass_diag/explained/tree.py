"""The sets of changes that were tried together, as the tree in which a search made them smaller."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from edgeglass_diag.explained.record import KeptExplanation, KeptTrial


@dataclass(frozen=True, slots=True)
class Branch:
    """Replays of one set of changes.

    Attributes:
        label: words for it.
        changes: names of what was changed.
        trials: its replays.
        smaller: the sets that were tried of it, each below the smallest set that holds it.
    """

    label: str
    changes: frozenset[str]
    trials: tuple[KeptTrial, ...]
    smaller: tuple[Branch, ...] = ()

    @property
    def learning(self) -> int:
        """Replays that learn."""
        return sum(trial.is_resolved and not trial.ill for trial in self.trials)

    @property
    def resolved(self) -> int:
        """Replays whose record tells how the training goes."""
        return sum(trial.is_resolved for trial in self.trials)


def search_trees(explanation: KeptExplanation) -> tuple[Branch, ...]:
    """Return the trees of the sets that were searched, one for each starting point; none where nothing was combined.

    A set hangs below the smallest set that holds it and was tried from the same starting point, as ``failing with``.
    """
    names = [tried.setting for tried in (*explanation.causes, *explanation.not_causes)]
    found: dict[str, list[Branch]] = {}
    for label, trials in explanation.groups().items():
        changes = changes_of(label, names)
        if changes:
            found.setdefault(label.partition(" with ")[0] if " with " in label else "", []).append(
                Branch(label, changes, trials)
            )
    return tuple(tree for each in found.values() for tree in _trees(each) if tree.smaller)


def changes_of(label: str, names: Collection[str]) -> frozenset[str]:
    """Return which of the names stand in the words for a set of changes, longer ones first.

    >>> sorted(changes_of("failing with --lr --lr-min", ["--lr", "--lr-min", "--seed"]))
    ['--lr', '--lr-min']
    """
    found = set()
    for name in sorted(names, key=len, reverse=True):
        pattern = rf"(?<!\S){re.escape(name)}(?!\S)"
        if re.search(pattern, label):
            found.add(name)
            label = re.sub(pattern, " ", label)
    return frozenset(found)


def _trees(branches: list[Branch]) -> list[Branch]:
    """The branches as trees, larger sets above the sets that they hold."""
    ordered = sorted(branches, key=lambda each: (len(each.changes), each.label))
    above: dict[int, int] = {}
    for place, each in enumerate(ordered):
        holds = [other for other in range(place + 1, len(ordered)) if each.changes < ordered[other].changes]
        if holds:
            above[place] = holds[0]

    def grown(place: int) -> Branch:
        each = ordered[place]
        below = tuple(grown(other) for other in range(place - 1, -1, -1) if above.get(other) == place)
        return Branch(each.label, each.changes, each.trials, below)

    return [grown(place) for place in range(len(ordered) - 1, -1, -1) if place not in above]
