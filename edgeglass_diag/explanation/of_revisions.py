"""By which commit, and by which lines of it, a program stopped learning."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from edgeglass_diag.explanation.engine import OutOfBudgetError
from edgeglass_diag.explanation.outcome import Outcome, OutcomeThreshold
from edgeglass_diag.explanation.program_trials import ProgramRunner, ProgramTrial, over_seeds
from edgeglass_diag.records import UsageError
from edgeglass_diag.replaying.plan import Plan
from edgeglass_diag.replaying.revisions.commits import Bisection, bisect
from edgeglass_diag.replaying.revisions.git import RevisionError, git
from edgeglass_diag.replaying.revisions.hunks import Blame, blame_hunks
from edgeglass_diag.replaying.revisions.replays import StateReplays
from edgeglass_diag.replaying.revisions.worktrees import WORKING_TREE, Place, State, Worktrees
from edgeglass_diag.replaying.search import Count

Decided = Callable[[Sequence[Outcome]], bool]
"""Returns whether outcomes with more than half of the seeds leave nothing to the others."""


class OutcomesOf(Protocol):
    """Replays a state of the files."""

    def __call__(self, state: State, place: Place, is_decided: Decided = ...) -> list[Outcome] | None:
        """Return its outcomes; None if it does not run, or the budget is spent."""


def _never(_: Sequence[Outcome]) -> bool:
    return False


@dataclass(frozen=True)
class RevisionSearch:
    """What the replays of revisions show.

    Attributes:
        present: outcomes of the program as it is.
        good: outcomes of the revision in which it learned.
        threshold: between the two; None if they are not separated.
        bisection: the search among the commits; None if there was nothing to search.
        blame: the search among the lines of the guilty one.
        summaries: first line of the message of each suspected commit.
    """

    present: Sequence[Outcome]
    good: Sequence[Outcome]
    threshold: OutcomeThreshold | None
    bisection: Bisection | None = None
    blame: Blame | None = None
    summaries: dict[str, str] | None = None


def explain_revisions(
    plan: Plan, revision: str, *, seeds: Sequence[int], runner: ProgramRunner, scratch: Path
) -> RevisionSearch:
    """Return by which revision after a good one a program stopped learning, and by which lines.

    Args:
        plan: replays the program as it is.
        revision: one in which it learned, by any name that git knows.
        seeds: of each verdict.
        runner: runs the trials.
        scratch: folder for the files of revisions.

    Raises:
        UsageError: if there is no such revision, or a program without a repository.
        OutOfBudgetError: if the budget is spent before both ends have run.
    """
    try:
        with Worktrees(Path(plan.folder), scratch) as trees:
            return _search(trees, plan, revision, seeds, runner)
    except RevisionError as error:
        raise UsageError(f"--against-rev {revision}: {error}") from None


def _search(trees: Worktrees, plan: Plan, revision: str, seeds: Sequence[int], runner: ProgramRunner) -> RevisionSearch:
    outcomes_of = _outcomes(plan, seeds, runner)
    ends = {}
    for state in (State(trees.present()), State(trees.commit(revision))):
        with trees.place(state) as place:
            ends[state] = outcomes_of(state, place)
    present, good = (ends.get(State(each)) for each in (trees.present(), trees.commit(revision)))
    if present is None or good is None:
        if runner.is_budget_spent:
            raise OutOfBudgetError
        which = "as it is" if present is None else f"of {revision}"
        raise UsageError(f"--against-rev {revision}: the program {which} does not run in a replay{_why(runner)}")
    threshold = OutcomeThreshold.between(present, good)
    if threshold is None:
        return RevisionSearch(present, good, None)

    def agree(outcomes: Sequence[Outcome]) -> bool:
        return len({threshold.is_failing(each) for each in outcomes}) == 1

    def count(state: State, place: Place) -> Count | None:
        outcomes = outcomes_of(state, place, _never if state.patch else agree)
        return None if outcomes is None else Count(sum(map(threshold.is_failing, outcomes)), len(outcomes))

    replays = StateReplays(trees, count)
    found = bisect(trees, revision, replays.of_revision)
    blame = blame_hunks(trees, found.good, found.bad, replays) if len(found.suspects) == 1 else None
    return RevisionSearch(present, good, threshold, found, blame, _summaries(trees, found.suspects))


def _outcomes(plan: Plan, seeds: Sequence[int], runner: ProgramRunner) -> OutcomesOf:
    """Return what replays a state: with more than half of the seeds, and with the rest where these do not decide."""

    here_and_now = uuid.uuid4().hex  # what is in no commit may be another one next time

    def outcomes(state: State, place: Place, is_decided: Decided = _never) -> list[Outcome] | None:
        files = here_and_now if state.revision == WORKING_TREE else state.revision
        patch = hashlib.sha256(state.patch.encode(errors="surrogateescape")).hexdigest()[:10] if state.patch else ""
        kind = "hunk" if patch else "commit"
        title = " ".join(filter(None, [state.revision[:10], f"with lines {patch}" if patch else ""]))
        here = replace(
            plan, folder=str(place.folder), environment={**plan.environment, **place.environment},
            title=title, state=f"{files} {patch}",
        )  # fmt: skip
        trials = over_seeds(ProgramTrial(here, kind), seeds)
        most = len(trials) // 2 + 1
        found = runner.run(trials[:most])
        first = [found[each.key] for each in trials[:most] if each.key in found]
        if len(first) < most:
            return None
        if is_decided(first):
            return first
        found |= runner.run(trials[most:])
        return [found[each.key] for each in trials] if len(found) == len(trials) else None

    return outcomes


def _why(runner: ProgramRunner) -> str:
    failed = [result for _, result in runner.replayed.values() if result.error]
    return f": {failed[-1].error} (its output: {failed[-1].log})" if failed else ""


def _summaries(trees: Worktrees, revisions: Sequence[str]) -> dict[str, str]:
    commits = [each for each in revisions if each != WORKING_TREE]
    return {each: git(trees.tree, "log", "-1", "--format=%s", each).strip() for each in commits}
