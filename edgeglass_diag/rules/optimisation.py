"""EG2xx: optimisation."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History, Series
from edgeglass_diag.rules.training_state import no_better_than_chance, weight_matrices


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
    windows: float = 6
    learned: float = 0.1
    steps: float = 20

    code = "EG202"
    name = "update-too-large"
    severity = Severity.WARNING
    source = (
        "TheDeepChecker: log10 ratio within [-4, -1]; https://cs231n.github.io/neural-networks-3/#ratio: about 1e-3"
    )
    fix = "Lower the learning rate by 10 (published rates hold for their width: with Adam scale them by width ratio)."

    def check(self, history: History) -> Iterable[Finding]:
        """At most one finding for the whole model."""
        newest = self._newest_stretch(history)
        known = len(history.relative_loss) > 0
        if newest is None or (known and not self._harmed(history, history.updates.steps[newest])):
            return
        step, value = history.updates.steps[newest], history.updates.values[newest]
        worst = max(weight_matrices(history), key=lambda site: history.series("update/ratio", site).at(step))
        rate = max((s.at(step) for _, s in history.of("optimizer/lr")), default=float("nan"))
        yield self.finding(
            history,
            f"a step changes the median weight matrix by {value:.0%} of its norm (step {step}, lr {rate:.3g}), "
            f"most of all {worst}",
            severity=Severity.WARNING if known else Severity.INFO,
            evidence={"median_ratio": value, "most_changed": worst, "lr": rate, "step": step},
        )

    def _newest_stretch(self, history: History) -> int | None:
        """Index of the newest window that ends a stretch of large updates."""
        ratios, count = history.updates.values, int(self.windows)

        def ends(last: int) -> bool:
            large = [value for value in ratios[max(0, last - 2 * count + 2) : last + 1] if value > self.ratio]
            return ratios[last] > self.ratio and sum(large) > count * self.ratio

        return history.latest(("EG202", self.ratio, count), len(ratios), ends)

    def _harmed(self, history: History, step: int) -> bool:
        """Whether the loss is broken, or was no better than chance at that step and has not been since."""
        total = history.series("loss/total")
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
    OneCycle policy, which moves the momentum against the rate, raises an error at its end; they are silent.
    """

    low: float = 0.05
    points: float = 3
    even: float = 2.0

    code = "EG203"
    name = "schedule-overrun"
    severity = Severity.WARNING
    source = (
        "derived: expansion of the cosine at p = 1; the Edge Glass history rises quadratically from 5e-10; with the "
        "horizon half a point beside the lowest of three on each side the two rates differ by (3.5 / 2.5)^2 = 2; "
        "https://pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.OneCycleLR.html"
    )
    fix = "Set the schedule's number of steps to the number of optimizer steps that the run really takes."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per parameter group whose rate differs."""
        seen: set[tuple[float, ...]] = set()
        for group, series in history.of("optimizer/lr"):
            shape = tuple(series.values)
            lowest = None if shape in seen else self._turn(series)
            seen.add(shape)
            if lowest is None or _moves_momentum(history, group, since=series.steps[lowest]):
                continue
            step, rate = series.steps[lowest], series.values[lowest]
            yield self.finding(
                history,
                f"{group}: the learning rate fell to {rate:.2g} at step {step} and rises again, to {series.last:.2g} "
                f"at step {series.steps[-1]}: the cosine's horizon is about step {step}",
                site=group,
                evidence={"lowest": rate, "at": step, "now": series.last, "peak": max(series.values)},
            )

    def _turn(self, series: Series) -> int | None:
        """Index of the lowest rate, if the rate overran there."""
        values, steps = series.values, series.steps
        peak = values.index(max(values)) if values else 0
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
        """Whether the rate rose from its lowest as it had fallen, as far as both are known."""
        steps, values = series.steps, series.values
        reach = min(steps[-1] - steps[lowest], steps[lowest] - steps[peak])
        fall = [rate - values[lowest] for rate in values[peak : lowest + 1]]
        rise = [rate - values[lowest] for rate in values[lowest:]]
        before = _between(steps[peak : lowest + 1], fall, steps[lowest] - reach)
        after = _between(steps[lowest:], rise, steps[lowest] + reach)
        return before <= self.even * after and after <= self.even * before


def _moves_momentum(history: History, group: str, *, since: int) -> bool:
    for name in ("beta1", "momentum"):
        series = history.series(f"optimizer/{name}", group)
        if len({value for step, value in zip(series.steps, series.values, strict=True) if step >= since}) > 1:
            return True
    return False


def _misfit(times: list[int], values: list[float], power: int) -> float:
    """Squared error of the best c t^power."""
    basis = [float(t) ** power for t in times]
    factor = sum(b * v for b, v in zip(basis, values, strict=True)) / sum(b * b for b in basis)
    return sum((v - factor * b) ** 2 for b, v in zip(basis, values, strict=True))


def _between(steps: list[int], values: list[float], step: int) -> float:
    """Value at a step between the first and the last, interpolated."""
    right = max(1, bisect_left(steps, step))
    if right >= len(steps):
        return values[-1]
    share = (step - steps[right - 1]) / (steps[right] - steps[right - 1])
    return values[right - 1] + share * (values[right] - values[right - 1])
