"""EG2xx: learning rates that never come up, or are gone too early."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule, Stage
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.series import Series
from edgeglass_diag.rules.training_state import at_chance
from edgeglass_diag.signals.parameters import OPTIMIZER_LR


@dataclass(frozen=True)
class WarmupTooLong(Rule):
    """The run is over, and the learning rate was still warming up.

    Why: warm-up and total length are swapped, or counted in other units than steps; the model has hardly been trained.

    Formula: at the end of the training the rate had risen in every recorded window, from at most a tenth of where it
    ended, over at least ``steps`` steps, and the loss is no more than a tenth better than chance.
    """

    steps: int = 40

    code = "EG212"
    name = "warm-up-too-long"
    title = "Warm-up longer than the run"
    severity = Severity.WARNING
    page = "gradients"
    signals = (OPTIMIZER_LR,)
    stages = (Stage.RUN, Stage.LOG)
    aliases = {"EG250": {}}  # noqa: RUF012
    source = "derived; FAILURES of schedulers stepped per micro-batch or with swapped arguments: diffusers #4387"
    fix = "Shorten the warm-up to some 5 % of the optimizer steps of the run."
    cures = (Intervention("optimizer.lr", 10), Intervention("optimizer.lr", 100))
    faulty = "get_cosine_schedule(optimizer, warmup=10000, total=500)"
    healthy = "warmup=500, total=10000"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding, at the end."""
        if not history.ended or history.last_step < self.steps or not at_chance(history):
            return
        for group, series in history.of(OPTIMIZER_LR):
            if self._only_rose(series):
                yield self.finding(
                    history,
                    f"the learning rate of {group} was still rising at the end, from {series.first:.2g} to "
                    f"{series.last:.2g} at step {series.steps[-1]}",
                    evidence={"first": series.first, "last": series.last, "group": group},
                )
                return

    def _only_rose(self, series: Series) -> bool:
        rising = all(later > earlier for earlier, later in pairwise(series.values))
        return len(series) > 4 and rising and series.first <= 0.1 * series.last


@dataclass(frozen=True)
class ScheduleEnded(Rule):
    """The learning rate is at zero and the training goes on.

    Why: the schedule is stepped more often than the optimizer, or was given fewer steps than there are; what follows
    is wasted.

    Formula: after its peak the rate fell to at most ``low`` of it and has stayed there over at least ``steps`` steps
    and ``windows`` windows. A cosine that ends with its run is below 1e-6 in the last 0.06 % of its steps only.
    """

    low: float = 1e-6
    steps: int = 10
    windows: int = 3

    code = "EG213"
    name = "schedule-ended"
    title = "Learning rate schedule ended too early"
    severity = Severity.WARNING
    page = "gradients"
    signals = (OPTIMIZER_LR,)
    stages = (Stage.RUN, Stage.LOG)
    aliases = {"EG252": {}}  # noqa: RUF012
    source = "derived: 0.5 (1 + cos(pi p)) <= 1e-6 for p >= 0.9994"
    fix = "Step the scheduler once per optimizer step, and give it the number of optimizer steps of the run."
    cures = (Intervention("schedule.constant"),)
    faulty = "scheduler.step() after each of four micro-batches"
    healthy = "scheduler.step() after optimizer.step()"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for all groups."""
        for group, series in history.of(OPTIMIZER_LR):
            peak = max(series.values)
            gone = series.streak(self._is_gone(peak))
            if peak > 0 and gone is not None and gone.lasting(steps=self.steps, windows=self.windows):
                yield self.finding(
                    history,
                    f"the learning rate of {group} is {series.last:.2g} since step {gone.since} (its peak was "
                    f"{peak:.2g}), and the training goes on",
                    since=gone.since,
                    evidence={"peak": peak, "group": group},
                )
                return

    def _is_gone(self, peak: float) -> Callable[[int, float], bool]:
        return lambda _, rate: rate <= self.low * peak
