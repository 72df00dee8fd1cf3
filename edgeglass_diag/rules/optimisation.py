"""EG2xx: optimisation."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

from edgeglass_diag.records import Bounds, Finding, Severity
from edgeglass_diag.rules.base import Rule, Stage
from edgeglass_diag.rules.cures import SLOWER
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.series import Series
from edgeglass_diag.rules.training_state import matrices, no_better_than_chance, weight_matrices
from edgeglass_diag.signals.losses import LOSS_TOTAL
from edgeglass_diag.signals.parameters import OPTIMIZER_BETA1, OPTIMIZER_LR, OPTIMIZER_MOMENTUM, UPDATE_RATIO
from edgeglass_diag.signals.signal import Signal


@dataclass(frozen=True)
class UpdateTooLarge(Rule):
    """Each optimizer step changes the weights by a large part of themselves, and the model does not learn.

    Why: about 1e-3 is usual. Above 0.1 ten steps replace a weight, and what was learned from a batch is gone
    with the next ones.

    Formula: median over the weight matrices of |delta w| / |w|, summed over those of 2 x ``windows`` - 1 recorded
    windows in a row in which it exceeds ``ratio``, exceeds ``windows`` x ``ratio`` (as six steps of a tenth do, or one
    that replaces the weights at once), and since then, and for at least ``steps`` steps, the loss has
    been no more than ``learned`` (relative) better than chance, or it is not finite. Matrices that start at zero
    are left out. A model that learns all the same takes no harm; where the loss has no chance level it is only a
    fact (info).
    """

    ratio: float = 0.1
    windows: int = 6
    learned: float = 0.1
    steps: int = 20

    code = "EG202"
    name = "update-too-large"
    title = "Learning rate too high"
    severity = Severity.WARNING
    page = "gradients"
    signals = (UPDATE_RATIO, OPTIMIZER_LR, LOSS_TOTAL)
    source = (
        "TheDeepChecker: log10 ratio within [-4, -1]; https://cs231n.github.io/neural-networks-3/#ratio: about 1e-3"
    )
    fix = "Lower the learning rate by 10 (published rates hold for their width: with Adam scale them by width ratio)."
    cures = SLOWER
    refuted_by_learning = True
    faulty = "lr=0.128 at width 128: a step changes a matrix by 11 %"
    healthy = "lr=1.6e-2: by 1 %"
    brought_by = ("EG211", "EG227")

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding for the whole model."""
        newest = self._newest_stretch(history)
        known = len(history.relative_loss) > 0
        if newest is None or (known and not self._harmed(history, history.updates.steps[newest])):
            return
        step, value = history.updates.steps[newest], history.updates.value(newest)
        sites = weight_matrices(history) or matrices(history)  # weights that are NaN by now do not tell how they began
        worst = max(sites, key=lambda site: history.series(UPDATE_RATIO, site).at(step))
        rate = max((s.at(step) for _, s in history.of(OPTIMIZER_LR)), default=float("nan"))
        yield self.finding(
            history,
            f"a step changes the median weight matrix by {value:.0%} of its norm (usual 0.1%, at most "
            f"{self.ratio:.0%}), {worst} most of all; step {step}, lr {rate:.3g}",
            severity=Severity.WARNING if known else Severity.INFO,
            focus=worst,
            evidence={"median_ratio": value, "most_changed": worst, "lr": rate, "step": step},
        )

    def bounds(self) -> Mapping[Signal, Bounds]:
        """Return the share of a weight above which a step is too large."""
        return {UPDATE_RATIO: Bounds(high=self.ratio)}

    def _newest_stretch(self, history: History) -> int | None:
        """Return the index of the newest window that ends a stretch of large updates."""
        updates = history.updates
        return updates.latest(lambda last: self._ends_a_stretch(updates.values, last))

    def _ends_a_stretch(self, ratios: Sequence[float], last: int) -> bool:
        large = [value for value in ratios[max(0, last - 2 * self.windows + 2) : last + 1] if value > self.ratio]
        return ratios[last] > self.ratio and sum(large) > self.windows * self.ratio

    def _harmed(self, history: History, step: int) -> bool:
        """Return whether the loss is broken, or was no better than chance at that step and has not been since."""
        total = history.series(LOSS_TOTAL)
        if len(total) and not isfinite(total.last):
            return True
        stuck = no_better_than_chance(history, self.learned)
        return stuck is not None and stuck.span >= self.steps and stuck.since <= step


@dataclass(frozen=True)
class ScheduleOverrun(Rule):
    """The learning rate rises again at the end of a cosine decay: training runs past the schedule's horizon.

    Why: 0.5 (1 + cos(pi p)) grows again for p > 1; the end of the training undoes the annealing.

    Formula: after its peak the rate fell to at most ``low`` of it and then rose in at least ``points`` recorded
    windows without a jump, closer to c (t - t0)^2 than to c (t - t0), and as it had fallen: a cosine is even about its
    horizon, so that the rate is within a factor of ``even`` of what it was as long before the lowest. A warm restart
    jumps, a triangular cycle rises linearly, the warm-up of a new stage is shorter than the decay of the last, and a
    OneCycle policy, which moves the momentum against the rate, raises an error at its end; they are silent. A fact
    (info) once the rate has come down again to half of what it rose to: a cycle, which anneals as often as it rises.
    """

    low: float = 0.05
    points: int = 3
    even: float = 2.0

    code = "EG203"
    name = "schedule-overrun"
    title = "Learning rate rises after its schedule has ended"
    severity = Severity.WARNING
    page = "gradients"
    signals = (OPTIMIZER_LR,)
    stages = (Stage.RUN, Stage.LOG)
    source = (
        "derived: expansion of the cosine at p = 1; the Edge Glass history rises quadratically from 5e-10; with the "
        "horizon half a point from the lowest of three on each side the two rates differ by (3.5 / 2.5)^2 = 2; "
        "https://pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.OneCycleLR.html"
    )
    fix = "Set the schedule's number of steps to the number of optimizer steps that the run really takes."
    faulty = "CosineAnnealingLR(optimizer, T_max=620) over 1240 steps"
    healthy = "T_max=1240 over 1240 steps"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per parameter group whose rate differs."""
        seen: set[tuple[float, ...]] = set()
        for group, series in history.of(OPTIMIZER_LR):
            shape = tuple(series.values)
            lowest = None if shape in seen else self._turn(series)
            seen.add(shape)
            if lowest is None or _moves_momentum(history, group, since=series.steps[lowest]):
                continue
            step, rate = series.steps[lowest], series.value(lowest)
            yield self.finding(
                history,
                f"that of {group} fell to {rate:.2g} at step {step}, about the cosine's last step, and rises again to "
                f"{series.last:.2g} at step {series.steps[-1]}",
                site=group,
                evidence={"lowest": rate, "at": step, "now": series.last, "peak": max(series.values)},
            )

    def passed_since(self, history: History, finding: Finding) -> int | None:
        """Return the step at which the rate had come down again from where it rose to."""
        raised = history.series(OPTIMIZER_LR, finding.site).since(finding.step)
        peak = 0.0
        for step, rate in raised:
            peak = max(peak, rate)
            if rate <= peak / 2:
                return step
        return None

    def _turn(self, series: Series) -> int | None:
        """Return the index of the lowest rate, if the rate overran there."""
        values, steps = series.values, series.steps
        peak = max(range(len(values)), key=values.__getitem__, default=0)
        after = range(peak, len(values))
        lowest = min(after, key=lambda i: values[i], default=0)
        rising = values[lowest:]
        if len(rising) <= self.points or values[lowest] > self.low * values[peak]:
            return None
        if any(b <= a for a, b in pairwise(rising)) or rising[-1] > values[peak]:
            return None
        times = [step - steps[lowest] for step in steps[lowest:]]
        lifted = [value - rising[0] for value in rising]
        if _misfit(times, lifted, 2) >= _misfit(times, lifted, 1):
            return None
        return lowest if self._is_even(series, peak, lowest) else None

    def _is_even(self, series: Series, peak: int, lowest: int) -> bool:
        """Return whether the rate rose from its lowest as it had fallen, as far as both are known."""
        steps, values = series.steps, series.values
        reach = min(steps[-1] - steps[lowest], steps[lowest] - steps[peak])
        fall = [rate - values[lowest] for rate in values[peak : lowest + 1]]
        rise = [rate - values[lowest] for rate in values[lowest:]]
        before = _between(steps[peak : lowest + 1], fall, steps[lowest] - reach)
        after = _between(steps[lowest:], rise, steps[lowest] + reach)
        return before <= self.even * after and after <= self.even * before


def _moves_momentum(history: History, group: str, *, since: int) -> bool:
    for signal in (OPTIMIZER_BETA1, OPTIMIZER_MOMENTUM):
        series = history.series(signal, group)
        if len({value for step, value in zip(series.steps, series.values, strict=True) if step >= since}) > 1:
            return True
    return False


def _misfit(times: Sequence[int], values: Sequence[float], power: int) -> float:
    """Return the squared error of the best c t^power."""
    basis = [float(t) ** power for t in times]
    factor = sum(b * v for b, v in zip(basis, values, strict=True)) / sum(b * b for b in basis)
    return sum((v - factor * b) ** 2 for b, v in zip(basis, values, strict=True))


def _between(steps: Sequence[int], values: Sequence[float], step: int) -> float:
    """Return the value at a step between the first and the last, interpolated."""
    right = max(1, bisect_left(steps, step))
    if right >= len(steps):
        return values[-1]
    share = (step - steps[right - 1]) / (steps[right] - steps[right - 1])
    return values[right - 1] + share * (values[right] - values[right - 1])
