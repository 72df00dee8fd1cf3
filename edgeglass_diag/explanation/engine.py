"""Find the changes that cure a failing run, against a healthy run or among single changes, by replays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from edgeglass_diag.explanation.outcome import MIN_LOSS_GAP, Outcome, OutcomeThreshold
from edgeglass_diag.explanation.replay import Trial
from edgeglass_diag.replaying.search import Count, Oracle, SearchResult, Subset, search

Changes = Mapping[str, Mapping[str, Any]]
"""Name of a change -> its settings, ``section.key`` -> value."""


class Runner(Protocol):
    """Runs trials, each once."""

    @property
    def done(self) -> Mapping[str, tuple[Trial, Outcome]]:
        """All trials that were run, by key."""

    @property
    def is_budget_spent(self) -> bool:
        """Whether the budget is spent."""

    def run(self, trials: Iterable[Trial]) -> dict[str, Outcome]:
        """Return outcomes by key of the trials that could be run."""


Compatible = Callable[[Trial], bool]
"""Returns whether the settings of a trial are compatible with each other."""


@dataclass(frozen=True)
class Explanation:
    """Result of the replays.

    Attributes:
        failing: outcomes of the failing settings, one for each seed.
        healthy: outcomes of the healthy settings; of the best single change without healthy settings.
        threshold: between failing and healthy; 0.05 below chance if they are not separated.
        separated: whether the outcomes of failing and healthy settings are separated.
        cures: changes of the failing settings that cure.
        breaks: changes of the healthy settings that make them fail; None without healthy settings.
        best: the best single change, by which the others are measured; None with healthy settings.
        finished: whether everything was tried within the budget.
    """

    failing: Sequence[Outcome]
    healthy: Sequence[Outcome]
    threshold: OutcomeThreshold
    separated: bool
    cures: SearchResult
    breaks: SearchResult | None = None
    best: str | None = None
    finished: bool = True


@dataclass(frozen=True)
class ReplayExperiment:
    """Replays of settings with sets of changes, each over all seeds.

    Attributes:
        base: the unchanged settings, ``section.key`` -> value.
        changes: settings of each change, by its name.
        label: begins the labels of the trials.
        seeds: seeds of each set of changes.
        steps: optimizer steps of a replay.
        runner: runs the trials.
        compatible: whether the settings of a trial are compatible.
    """

    base: Mapping[str, Any]
    changes: Changes
    label: str
    seeds: Sequence[int]
    steps: int
    runner: Runner
    compatible: Compatible

    def trials(self, changed: Subset) -> list[Trial]:
        """Return one trial for each seed of the settings with these changes."""
        settings = dict(self.base)
        for name in sorted(changed):
            settings |= self.changes[name]
        label = " ".join([self.label, *sorted(changed)])
        return [Trial(label, settings, seed, self.steps) for seed in self.seeds]

    def outcomes(self, sets: Iterable[Subset]) -> dict[Subset, list[Outcome] | None]:
        """Return the outcomes of each set over all seeds; None if incompatible, or if the budget is spent."""
        wanted = {each: trials for each in sets if self.compatible((trials := self.trials(each))[0])}
        # All sets with the first seed come before any with the second: a small budget covers more sets.
        found = self.runner.run([trials[seed] for seed in range(len(self.seeds)) for trials in wanted.values()])
        return {each: self._of_all_seeds(wanted.get(each), found) for each in sets}

    def _of_all_seeds(self, trials: list[Trial] | None, found: Mapping[str, Outcome]) -> list[Outcome] | None:
        if trials is None or any(trial.key not in found for trial in trials):
            return None
        return [found[trial.key] for trial in trials]

    def oracle(self, has_effect: Callable[[Outcome], bool]) -> Oracle:
        """Return a function that counts the outcomes with an effect, for ``search``."""

        def counts(sets: Sequence[Subset]) -> dict[Subset, Count | None]:
            return {
                each: None if outcomes is None else Count(sum(map(has_effect, outcomes)), len(outcomes))
                for each, outcomes in self.outcomes(sets).items()
            }

        return counts


class OutOfBudgetError(Exception):
    """Raised if the budget is spent before the unchanged settings, failing and healthy, are replayed."""


def explain_difference(
    failing: Mapping[str, Any],
    healthy: Mapping[str, Any],
    names: Sequence[str],
    *,
    seeds: Sequence[int],
    steps: int,
    runner: Runner,
    compatible: Compatible,
) -> Explanation:
    """Return which of the differing settings cure the failing run and which break the healthy one.

    Args:
        failing: settings of the failing run, ``section.key`` -> value.
        healthy: settings of the healthy run.
        names: names of the differing settings.
        seeds: seeds of each set of changes.
        steps: optimizer steps of a replay.
        runner: runs the trials.
        compatible: whether the settings of a trial are compatible.

    Raises:
        OutOfBudgetError: if the budget is spent before both unchanged settings are replayed.
    """
    to_healthy = {name: {name: healthy.get(name)} for name in names}
    to_failing = {name: {name: failing.get(name)} for name in names}
    curing = ReplayExperiment(failing, to_healthy, "failing with", seeds, steps, runner, compatible)
    breaking = ReplayExperiment(healthy, to_failing, "healthy with", seeds, steps, runner, compatible)
    nothing, everything = Subset(), Subset(names)
    runner.run([*curing.trials(nothing), *curing.trials(everything)])
    worst, best = curing.outcomes([nothing])[nothing], curing.outcomes([everything])[everything]
    if worst is None or best is None:
        raise OutOfBudgetError
    found = OutcomeThreshold.between(worst, best)
    threshold = found or OutcomeThreshold(-MIN_LOSS_GAP)
    cures = search(names, curing.oracle(lambda outcome: not threshold.is_failing(outcome)))
    needed = [name for name, count in cures.singles.items() if count is not None and count.holds]
    breaks = search(names, breaking.oracle(threshold.is_failing), needed=needed) if found else None
    finished = not runner.is_budget_spent
    return Explanation(worst, best, threshold, found is not None, cures, breaks, finished=finished)


def explain_alone(
    failing: Mapping[str, Any],
    changes: Changes,
    *,
    seeds: Sequence[int],
    steps: int,
    runner: Runner,
    compatible: Compatible,
) -> Explanation:
    """Return which single changes cure a failing run, without a healthy run to compare with.

    A change cures if the loss is nearer to that of the best change than to that of the unchanged settings.

    Raises:
        OutOfBudgetError: if the budget is spent before the unchanged settings are replayed.
    """
    experiment = ReplayExperiment(failing, changes, "failing with", seeds, steps, runner, compatible)
    singles = {name: Subset({name}) for name in changes}
    outcomes = experiment.outcomes([Subset(), *singles.values()])
    unchanged = outcomes[Subset()]
    if unchanged is None:
        raise OutOfBudgetError
    tried = {name: of_change for name, each in singles.items() if (of_change := outcomes[each]) is not None}
    best = min(tried, key=lambda name: max(outcome.loss for outcome in tried[name]), default=None)
    found = None if best is None else OutcomeThreshold.between(unchanged, tried[best])
    threshold = found or OutcomeThreshold(-MIN_LOSS_GAP)
    counted = experiment.oracle(lambda outcome: not threshold.is_failing(outcome))(list(singles.values()))
    counts = {name: counted[each] for name, each in singles.items()}
    curing = {each: c for name, each in singles.items() if (c := counts[name]) is not None and c.holds and found}
    flaky = [singles[name] for name, count in counts.items() if count is not None and count.is_flaky]
    cures = SearchResult(counts, list(curing), curing, flaky)
    healthy = tried[best] if best is not None else []
    finished = not runner.is_budget_spent
    return Explanation(unchanged, healthy, threshold, found is not None, cures, best=best, finished=finished)
