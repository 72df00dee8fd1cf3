"""Find the changes that cure a failing training, against a healthy one or among single changes, by replays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from edgeglass_diag.explanation.outcome import MIN_LOSS_GAP, Outcome, OutcomeThreshold
from edgeglass_diag.replaying.search import Count, Oracle, SearchResult, Subset, search


class Trial(Protocol):
    """A replay to run."""

    @property
    def key(self) -> str:
        """What tells it from others; its label does not count."""

    @property
    def label(self) -> str:
        """What is changed, in words."""

    @property
    def kind(self) -> str:
        """Kind of what is changed; ``control`` where nothing is."""

    @property
    def seed(self) -> int:
        """Number of its seed."""

    @property
    def steps(self) -> int:
        """Optimizer steps after which it ends."""


T = TypeVar("T", bound=Trial)

TrialsOf = Callable[[Subset], Sequence[T]]
"""Returns the trials of a set of changes, one for each seed; none where the changes do not fit together."""


class Runner(Protocol[T]):
    """Runs trials, each once."""

    @property
    def done(self) -> Mapping[str, tuple[T, Outcome]]:
        """All trials that were run, by key."""

    @property
    def is_budget_spent(self) -> bool:
        """Whether the budget is spent."""

    def run(self, trials: Iterable[T]) -> dict[str, Outcome]:
        """Return outcomes by key of the trials that could be run."""


@dataclass(frozen=True)
class Explanation:
    """Result of the replays.

    Attributes:
        failing: outcomes of the failing training, one for each seed.
        healthy: outcomes of the healthy one; of the best single change without a healthy one.
        threshold: between failing and healthy; 0.05 below chance if they are not separated.
        separated: whether the outcomes of failing and healthy trainings are separated.
        cures: changes of the failing training that cure.
        breaks: changes of the healthy training that make it fail; None without a healthy one.
        best: the best single change, by which the others are measured; None with a healthy training.
        finished: whether everything was tried within the budget.
        outcomes: of each single change that was tried, one for each seed; empty with a healthy training.
        headline: the finding that a cure must be without; None where the loss alone tells.
    """

    failing: Sequence[Outcome]
    healthy: Sequence[Outcome]
    threshold: OutcomeThreshold
    separated: bool
    cures: SearchResult
    breaks: SearchResult | None = None
    best: str | None = None
    finished: bool = True
    outcomes: Mapping[str, Sequence[Outcome]] | None = None
    headline: str | None = None

    def is_ill(self, outcome: Outcome) -> bool:
        """Return whether a replay counts as failing."""
        return self.threshold.is_failing(outcome) or (self.best is not None and not outcome.learns(self.headline))


@dataclass(frozen=True)
class ReplayExperiment(Generic[T]):
    """Replays of a training with sets of changes, each over all seeds.

    Attributes:
        trials_of: makes the trials of a set.
        runner: runs them.
        early: a set that has no effect with more than half of the seeds is decided, and replayed no more.
    """

    trials_of: TrialsOf[T]
    runner: Runner[T]
    early: bool = False

    def outcomes(self, sets: Iterable[Subset]) -> dict[Subset, list[Outcome] | None]:
        """Return the outcomes of each set over all seeds; None if incompatible, or if the budget is spent."""
        return self._outcomes({each: self.trials_of(each) for each in sets})

    def _outcomes(self, wanted: Mapping[Subset, Sequence[T]]) -> dict[Subset, list[Outcome] | None]:
        # All sets with the first seed come before any with the second: a small budget covers more sets.
        seeds = max(map(len, wanted.values()), default=0)
        found = self.runner.run([of[seed] for seed in range(seeds) for of in wanted.values() if of])
        return {each: self._of_all_seeds(trials, found) for each, trials in wanted.items()}

    def _of_all_seeds(self, trials: Sequence[T], found: Mapping[str, Outcome]) -> list[Outcome] | None:
        if not trials or any(trial.key not in found for trial in trials):
            return None
        return [found[trial.key] for trial in trials]

    def oracle(self, has_effect: Callable[[Outcome], bool]) -> Oracle:
        """Return a function that counts the outcomes with an effect, for ``search``."""

        def counts(sets: Sequence[Subset]) -> dict[Subset, Count | None]:
            wanted = {each: self.trials_of(each) for each in sets}
            if self.early:
                found = self._outcomes({each: of[: len(of) // 2 + 1] for each, of in wanted.items()})
                open_ = {each for each, of in found.items() if of is not None and any(map(has_effect, of))}
                found |= self._outcomes({each: of for each, of in wanted.items() if each in open_})
            else:
                found = self._outcomes(wanted)
            return {
                each: None if outcomes is None else Count(sum(map(has_effect, outcomes)), len(outcomes))
                for each, outcomes in found.items()
            }

        return counts


class OutOfBudgetError(Exception):
    """Raised if the budget is spent before the unchanged training, failing and healthy, is replayed."""


def explain_difference(
    names: Sequence[str], *, curing: TrialsOf[T], breaking: TrialsOf[T], runner: Runner[T], early: bool = False
) -> Explanation:
    """Return which of the differences cure the failing training and which break the healthy one.

    Args:
        names: names of the differences.
        curing: trials of the failing training in which some differences are as in the healthy one.
        breaking: trials of the healthy training in which some differences are as in the failing one.
        runner: runs the trials.
        early: whether what has no effect with more than half of the seeds is replayed no more.

    Raises:
        OutOfBudgetError: if the budget is spent before both unchanged trainings are replayed.
    """
    cure, break_ = (ReplayExperiment(trials, runner, early) for trials in (curing, breaking))
    ends = cure.outcomes([Subset(), Subset(names)])
    worst, best = ends[Subset()], ends[Subset(names)]
    if worst is None or best is None:
        raise OutOfBudgetError
    found = OutcomeThreshold.between(worst, best)
    threshold = found or OutcomeThreshold(-MIN_LOSS_GAP)
    cures = search(names, cure.oracle(lambda outcome: not threshold.is_failing(outcome)))
    needed = [name for name, count in cures.singles.items() if count is not None and count.holds]
    breaks = search(names, break_.oracle(threshold.is_failing), needed=needed) if found else None
    finished = not runner.is_budget_spent
    return Explanation(worst, best, threshold, found is not None, cures, breaks, finished=finished)


def explain_alone(
    names: Sequence[str],
    *,
    curing: TrialsOf[T],
    runner: Runner[T],
    headline: str | None = None,
    noise: float = 0.0,
) -> Explanation:
    """Return which single changes cure a failing training, without a healthy one to compare with.

    A change cures if the training learns with it and its headline finding is gone, and if the loss is nearer to that
    of the best such change than to that of the unchanged training, or more answers are right than wrong with it and
    not without. One that does not learn with more than half of the seeds is decided, and replayed no more.

    Args:
        names: names of the changes, the likeliest first.
        curing: trials of the failing training with a set of changes.
        runner: runs the trials.
        headline: code of the finding that a cure must be without; None where the loss alone tells.
        noise: smallest difference of losses that counts as one, where it is larger than 0.05 of chance.

    Raises:
        OutOfBudgetError: if the budget is spent before the unchanged training is replayed.
    """
    experiment = ReplayExperiment(curing, runner)
    unchanged = experiment.outcomes([Subset()])[Subset()]
    if unchanged is None:
        raise OutOfBudgetError
    tried = _in_rounds(names, curing, runner, len(unchanged), headline)
    hopeful = [name for name, of in tried.items() if 2 * sum(each.learns(headline) for each in of) > len(unchanged)]
    best = min(hopeful, key=lambda name: max(outcome.loss for outcome in tried[name]), default=None)
    found = None if best is None else OutcomeThreshold.between(unchanged, tried[best], noise=noise)
    threshold = found or OutcomeThreshold(-MIN_LOSS_GAP)

    answered = any(outcome.accuracy > 0.5 for outcome in unchanged)

    def cures(outcome: Outcome) -> bool:
        is_better = not threshold.is_failing(outcome) or (outcome.accuracy > 0.5 and not answered)
        return is_better and outcome.learns(headline)

    counts = {name: Count(sum(map(cures, of)), len(of)) if (of := tried.get(name)) else None for name in names}
    curing_sets = {Subset({name}): count for name, count in counts.items() if count and count.holds and found}
    flaky = [Subset({name}) for name, count in counts.items() if count is not None and count.is_flaky]
    result = SearchResult(counts, list(curing_sets), curing_sets, flaky)
    healthy = tried[best] if best is not None else min(tried.values(), key=_worst, default=[])
    finished = not runner.is_budget_spent
    return Explanation(
        unchanged, healthy, threshold, found is not None, result,
        best=best or next((name for name, of in tried.items() if of is healthy), None),
        finished=finished, outcomes=tried, headline=headline,
    )  # fmt: skip


def explain_together(
    names: Sequence[str], alone: Explanation, *, curing: TrialsOf[T], runner: Runner[T], noise: float = 0.0
) -> Explanation | None:
    """Return the smallest set of changes that cures where none does alone; None where all together do not.

    Args:
        names: names of the changes that are made together.
        alone: what was found of each alone.
        curing: trials of the failing training with a set of changes.
        runner: runs the trials.
        noise: as of ``explain_alone``.
    """
    experiment, whole = ReplayExperiment(curing, runner), Subset(names)
    healthy = experiment.outcomes([whole])[whole] if len(whole) > 1 else None
    if healthy is None or not all(outcome.learns(alone.headline) for outcome in healthy):
        return None
    threshold = OutcomeThreshold.between(alone.failing, healthy, noise=noise)
    if threshold is None:
        return None

    def cures(outcome: Outcome) -> bool:
        return not threshold.is_failing(outcome) and outcome.learns(alone.headline)

    found = search(names, experiment.oracle(cures))
    found = replace(found, singles=alone.cures.singles | found.singles)
    return replace(alone, healthy=healthy, threshold=threshold, separated=True, cures=found, best=" and ".join(names))


def _worst(outcomes: Sequence[Outcome]) -> float:
    return max(outcome.loss for outcome in outcomes)


def _in_rounds(
    names: Sequence[str], curing: TrialsOf[T], runner: Runner[T], seeds: int, headline: str | None
) -> dict[str, list[Outcome]]:
    """Return the outcomes of each change alone, seed by seed until it can no longer cure with most of them."""
    tried: dict[str, list[Outcome]] = {}
    open_ = list(names)
    for seed in range(seeds):
        wanted = {name: trials[seed] for name in open_ if (trials := curing(Subset({name})))}
        found = runner.run(list(wanted.values()))
        for name, trial in wanted.items():
            if trial.key in found:
                tried.setdefault(name, []).append(found[trial.key])
        left = seeds - seed - 1
        open_ = [n for n in wanted if n in tried and 2 * (_hits(tried[n], headline) + left) > seeds]
    return tried


def _hits(outcomes: Sequence[Outcome], headline: str | None) -> int:
    return sum(outcome.learns(headline) for outcome in outcomes)
