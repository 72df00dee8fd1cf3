"""An oracle of states: each is made a folder, replayed in it, and forgotten but for its count."""

from __future__ import annotations

from collections.abc import Callable

from edgeglass_diag.replaying.revisions.git import RevisionError
from edgeglass_diag.replaying.revisions.worktrees import Place, State, Worktrees
from edgeglass_diag.replaying.search import Count

Replay = Callable[[State, Place], Count | None]
"""Runs a state of the program in its folder, once for each seed, and counts the ill replays; None if it does not run,
or the budget is spent."""


class StateReplays:
    """Counts the ill replays of states, each once.

    Attributes:
        counts: of the states that were asked for.
        reasons: why a state could not be made, by the words of git.
    """

    def __init__(self, trees: Worktrees, replay: Replay) -> None:
        self._trees, self._replay = trees, replay
        self.counts: dict[State, Count | None] = {}
        self.reasons: dict[State, str] = {}

    def __call__(self, state: State) -> Count | None:
        """Return the count of a state; None if it cannot be made or does not run."""
        if state not in self.counts:
            self.counts[state] = self._made(state)
        return self.counts[state]

    def of_revision(self, revision: str) -> Count | None:
        """Return the count of a revision, as ``bisect`` asks for it."""
        return self(State(revision))

    def _made(self, state: State) -> Count | None:
        try:
            with self._trees.place(state) as place:
                return self._replay(state, place)
        except RevisionError as error:
            self.reasons[state] = str(error)
            return None
