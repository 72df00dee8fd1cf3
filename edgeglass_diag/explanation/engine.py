"""Find which change cures a failing run, and which makes a healthy one fail, by replays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgeglass_diag.explanation.outcome import LEAST, Outcome, OutcomeThreshold
from edgeglass_diag.explanation.replay import Trial
from edgeglass_diag.explanation.search import Changed, Count, Found, search

Changes = Mapping[str, Mapping[str, Any]]
"""Name of a change -> the settings that it sets."""


class Runner(Protocol):
    """Makes trials and remembers them."""

    @property
    def done(self) -> Mapping[str, tuple[Trial, Outcome]]:
        """Return all trials that were made, by key."""

    @property
    def is_over(self) -> bool:
        """Return whether the budget is spent."""

    def run(self, trials: Iterable[Trial]) -> dict[str, Outcome]:
        """Return the outcomes by key of those that could be made."""


Check = Callable[[Trial], bool]
"""Whether the settings of a trial fit together."""


@dataclass(frozen=True)
class Explanation:
    """What the replays showed.

    Attributes:
        ill: outcomes of the ill settings, one for each seed.
        healthy: of the healthy ones; those of the best single change where there is nothing to compare with.
        border: ill or healthy; 0.05 below chance where the two ends do not part.
        parted: whether the two ends part.
        cures: ill settings with changes taken over from the healthy.
        makes_ill: the other way round; None where there are no healthy settings.
        best: the single change that the others are measured by, where there are no healthy settings.
    """

    ill: Sequence[Outcome]
    healthy: Sequence[Outcome]
    border: OutcomeThreshold
    parted: bool
    cures: Found | None
    makes_ill: Found | None = None
    best: str | None = None
    changes: Changes = field(default_factory=dict)
    finished: bool = True


@dataclass(frozen=True)
class _ReplayExperiment:
    """Replays of one set of settings with changes, over all seeds."""

    base: Mapping[str, Any]
    changes: Changes
    side: str
    seeds: Sequence[int]
    steps: int
    runner: Runner
    fits: Check

    def trials(self, changed: Changed) -> list[Trial]:
        settings = dict(self.base)
        for name in sorted(changed):
            settings |= self.changes[name]
        label = " ".join([self.side, *sorted(changed)])
        return [Trial(label, settings, seed, self.steps) for seed in self.seeds]

    def outcomes(self, sets: Iterable[Changed]) -> dict[Changed, list[Outcome] | None]:
        """Return the outcomes of all seeds, None if the settings do not fit together or the budget is spent."""
        wanted = {each: trials for each in sets if self.fits((trials := self.trials(each))[0])}
        found = self.runner.run(
            [trials[place] for place in range(len(self.seeds)) for trials in wanted.values()]  # all once before twice
        )
        return {each: self._whole(wanted.get(each), found) for each in sets}

    def _whole(self, trials: list[Trial] | None, found: Mapping[str, Outcome]) -> list[Outcome] | None:
        if trials is None or any(trial.key not in found for trial in trials):
            return None
        return [found[trial.key] for trial in trials]

    def ask(self, hit: Callable[[Outcome], bool]) -> Callable[[Sequence[Changed]], dict[Changed, Count | None]]:
        """Return the oracle of a search."""

        def answer(sets: Sequence[Changed]) -> dict[Changed, Count | None]:
            return {
                each: None if outcomes is None else Count(sum(map(hit, outcomes)), len(outcomes))
                for each, outcomes in self.outcomes(sets).items()
            }

        return answer


class OutOfBudgetError(Exception):
    """The budget ended before the two ends were replayed."""


def explain_difference(
    ill: Mapping[str, Any],
    healthy: Mapping[str, Any],
    names: Sequence[str],
    *,
    seeds: Sequence[int],
    steps: int,
    runner: Runner,
    fits: Check,
) -> Explanation:
    """Return which of the differing settings make the difference.

    Args:
        ill: settings of the ill run, ``section.key -> value``.
        healthy: of the healthy one.
        names: those that differ and are to be told apart.
        seeds: of each replay.
        steps: length of a replay.
        runner: makes the trials.
        fits: whether settings fit together.

    Raises:
        OutOfBudgetError: where the budget did not suffice for the two ends.
    """
    towards = {name: {name: healthy.get(name)} for name in names}
    away = {name: {name: ill.get(name)} for name in names}
    curing = _ReplayExperiment(ill, towards, "ill with", seeds, steps, runner, fits)
    spoiling = _ReplayExperiment(healthy, away, "healthy with", seeds, steps, runner, fits)
    nothing, everything = Changed(), Changed(names)
    runner.run([*curing.trials(nothing), *curing.trials(everything)])
    worst, best = curing.outcomes([nothing])[nothing], curing.outcomes([everything])[everything]
    if worst is None or best is None:
        raise OutOfBudgetError
    border = OutcomeThreshold.between(worst, best)
    line = border or OutcomeThreshold(-LEAST)
    cures = search(names, curing.ask(lambda outcome: not line.is_ill(outcome)))
    needed = [name for name, count in cures.singles.items() if count is not None and count.holds]
    makes_ill = search(names, spoiling.ask(line.is_ill), needed=needed) if border else None
    return Explanation(worst, best, line, border is not None, cures, makes_ill, None, towards, not runner.is_over)


def explain_alone(
    ill: Mapping[str, Any],
    changes: Changes,
    *,
    seeds: Sequence[int],
    steps: int,
    runner: Runner,
    fits: Check,
) -> Explanation:
    """Return which single changes cure a run, without another run to compare it with.

    A change cures where it brings a replay nearer to that of the best change than to the unchanged one.

    Raises:
        OutOfBudgetError: where the budget did not suffice for the unchanged settings.
    """
    lab = _ReplayExperiment(ill, changes, "ill with", seeds, steps, runner, fits)
    singles = {name: Changed({name}) for name in changes}
    outcomes = lab.outcomes([Changed(), *singles.values()])
    unchanged = outcomes[Changed()]
    if unchanged is None:
        raise OutOfBudgetError
    tried = {name: found for name, each in singles.items() if (found := outcomes[each]) is not None}
    best = min(tried, key=lambda name: max(outcome.loss for outcome in tried[name]), default=None)
    border = None if best is None else OutcomeThreshold.between(unchanged, tried[best])
    line = border or OutcomeThreshold(-LEAST)
    answers = lab.ask(lambda outcome: not line.is_ill(outcome))(list(singles.values()))
    counts = {name: answers[each] for name, each in singles.items()}
    holding = {each: c for name, each in singles.items() if (c := counts[name]) is not None and c.holds and border}
    flaky = [singles[name] for name, count in counts.items() if count is not None and count.is_flaky]
    cures = Found(counts, list(holding), holding, None, flaky)
    healthy = tried[best] if best is not None else []
    return Explanation(unchanged, healthy, line, border is not None, cures, None, best, changes, not runner.is_over)
