"""Trials of programs: each a plan that a process of its own carries out, and its outcome."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from edgeglass_diag.explanation.outcome import Outcome, measure
from edgeglass_diag.records import UsageError
from edgeglass_diag.replaying.plan import Plan
from edgeglass_diag.replaying.replayed import Ending, Replayed
from edgeglass_diag.replaying.runner import Replays, key_of
from edgeglass_diag.signals.losses import LOSS_TOTAL
from edgeglass_diag.store import Run, load


@dataclass(frozen=True)
class ProgramTrial:
    """A replay of a program.

    Attributes:
        plan: what it does.
        kind: of what is changed: ``control``, ``placebo``, ``intervention``, ``argument``, ``variable``, ``commit`` or
            ``hunk``.
    """

    plan: Plan
    kind: str = "control"

    @property
    def label(self) -> str:
        """What is changed, in words."""
        return self.plan.label

    @property
    def key(self) -> str:
        """What tells it from others."""
        return key_of(self.plan)

    @property
    def seed(self) -> int:
        """What is added to the seeds of the program."""
        return self.plan.seed

    @property
    def steps(self) -> int:
        """Optimizer steps after which it is stopped."""
        return self.plan.steps


def over_seeds(trial: ProgramTrial, seeds: Sequence[int]) -> list[ProgramTrial]:
    """Return the same trial with each of the seeds."""
    return [replace(trial, plan=replace(trial.plan, seed=seed)) for seed in seeds]


class ProgramRunner:
    """Runs trials of programs, and measures those that tell how the training goes."""

    def __init__(self, replays: Replays) -> None:
        self._replays = replays
        self.done: dict[str, tuple[ProgramTrial, Outcome]] = {}
        self.replayed: dict[str, tuple[ProgramTrial, Replayed]] = {}

    @property
    def is_budget_spent(self) -> bool:
        """Whether the budget is spent."""
        return self._replays.is_budget_spent

    def run(self, trials: Iterable[ProgramTrial]) -> dict[str, Outcome]:
        """Return outcomes by key of the trials that ran, and in which something was changed that was to be.

        Without an outcome is one that fails: it says nothing, unless a loss that is not finite ended it.
        """
        wanted = {trial.key: trial for trial in trials}
        found = self._replays.run(trial.plan for key, trial in wanted.items() if key not in self.replayed)
        for key, result in found.items():
            self.replayed[key] = wanted[key], result
            outcome = outcome_of(wanted[key].plan, result)
            if outcome is not None:
                self.done[key] = wanted[key], outcome
        return {key: self.done[key][1] for key in wanted if key in self.done}

    def forget(self, trial: ProgramTrial) -> None:
        """Forget a trial that has run and is not to be told."""
        self.replayed.pop(trial.key, None)
        self.done.pop(trial.key, None)

    def failures(self, trials: Iterable[ProgramTrial]) -> list[Replayed]:
        """Return the results of those that ran and have no outcome."""
        keys = [trial.key for trial in trials]
        return [self.replayed[key][1] for key in keys if key in self.replayed and key not in self.done]


def outcome_of(plan: Plan, result: Replayed) -> Outcome | None:
    """Return the outcome of a replay; None where it does not tell how the training goes.

    That is one in which none of the interventions could be made, and one that failed for another reason than a loss
    that is not finite.
    """
    if plan.interventions and len(result.unapplied) == len(plan.interventions):
        return None
    if not result.is_resolved and result.ending is not Ending.CRASHED:
        return None
    try:
        with load(result.folder) as run:
            outcome = measure(run)
            if result.is_resolved:
                return outcome if outcome.steps else None
            return replace(outcome, loss=math.inf) if _ended_infinite(run) else None
    except UsageError:  # of its record nothing can be read
        return None


def _ended_infinite(run: Run) -> bool:
    losses = [reading.values[0] for _, reading in run.readings(LOSS_TOTAL, site="")]
    return bool(losses) and not math.isfinite(losses[-1])


def losses_of(folder: str) -> Mapping[int, float]:
    """Return the recorded losses of a run by step."""
    with load(folder) as run:
        return {reading.step: reading.values[0] for _, reading in run.readings(LOSS_TOTAL, site="")}
