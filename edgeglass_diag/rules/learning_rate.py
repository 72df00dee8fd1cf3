"""EG2xx: learning rates that never come up, or are gone too early."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History, Series
from edgeglass_diag.rules.training_state import stuck


@dataclass(frozen=True)
class WarmupTooLong(Rule):
    """The run is over, and the learning rate was still warming up.

    Why: warm-up and total length are swapped, or counted in other units than steps; the model has hardly been trained.

    Formula: at the end of the training the rate had risen in every recorded window, from at most a tenth of where it
    ended, over at least ``steps`` steps, and the loss is no more than a tenth better than chance.
    """

    steps: float = 40

    code = "EG212"
    name = "warm-up-too-long"
    severity = Severity.WARNING
    source = "derived; FAILURES of schedulers stepped per micro-batch or with swapped arguments: diffusers #4387"
    fix = "Shorten the warm-up to some 5 % of the optimizer steps of the run."

    def check(self, history: History) -> Iterable[Finding]:
        """At most one finding, at the end."""
        if not history.ended or history.last_step < self.steps or not stuck(history):
            return
        for group, series in history.of("optimizer/lr"):
            if self._only_rose(series):
                yield self.finding(
                    history,
                    f"{group}: the learning rate was still rising at the end, from {series.values[0]:.2g} to "
                    f"{series.last:.2g} at step {series.steps[-1]}",
                    evidence={"first": series.values[0], "last": series.last, "group": group},
                )
                return

    def _only_rose(self, series: Series) -> bool:
        rising = all(later > earlier for earlier, later in pairwise(series.values))
        return len(series) > 4 and rising and series.values[0] <= 0.1 * series.last


@dataclass(frozen=True)
class ScheduleEnded(Rule):
    """The learning rate is at zero and the training goes on.

    Why: the schedule is stepped more often than the optimizer, or was given fewer steps than there are; what follows
    is wasted.

    Formula: after its peak the rate fell to at most ``low`` of it and has stayed there over at least ``steps`` steps
    and ``windows`` windows. A cosine that ends with its run is below 1e-6 in the last 0.06 % of its steps only.
    """

    low: float = 1e-6
    steps: float = 10
    windows: float = 3

    code = "EG213"
    name = "schedule-ended"
    severity = Severity.WARNING
    source = "derived: 0.5 (1 + cos(pi p)) <= 1e-6 for p >= 0.9994"
    fix = "Step the scheduler once per optimizer step, and give it the number of optimizer steps of the run."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding for all groups."""
        for group, series in history.of("optimizer/lr"):
            peak = max(series.values)
            gone = history.streak(
                ("EG213", self.low, group, peak), series, lambda _, value, peak=peak: value <= self.low * peak  # type: ignore[misc]
            )  # fmt: skip
            if peak > 0 and gone is not None and gone.lasting(steps=int(self.steps), windows=int(self.windows)):
                yield self.finding(
                    history,
                    f"{group}: the learning rate is at {series.last:.2g} since step {gone.since} (its peak was "
                    f"{peak:.2g}), and the training goes on",
                    evidence={"since": gone.since, "peak": peak, "group": group},
                )
                return
