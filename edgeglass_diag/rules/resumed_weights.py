"""EG242 and EG243: weights that a program started again has not brought back, and a loss that shows it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isfinite, prod, sqrt
from statistics import median

from edgeglass_diag.records import Cut, Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.cuts import Readings, around, near, newest_cut, restored_step
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.parameter_groups import listed
from edgeglass_diag.signals.losses import LOSS_TOTAL
from edgeglass_diag.signals.parameters import UPDATE_RATIO, WEIGHT_NORM
from edgeglass_diag.sites import ParameterSite

_ROUNDING = 1e-5
"""Part of a norm by which it has changed: a hundred times the spacing of float32."""

_RECENT, _FASTER = 5, 2.0
"""Windows before a cut whose updates bound how far a norm can have moved until it, and how much larger those between
may be: a rate that warms up doubles at most in as many steps as it has taken."""

_TO_NORMAL = 1.4826
"""Standard deviation over the median of absolute deviations, of normal noise."""

_SHORT, _LONG = 5, 16
"""Readings of the loss behind and before a cut."""


@dataclass(frozen=True)
class _Weight:
    """A parameter that the first part of a run has changed.

    Attributes:
        name: its path.
        before: its norms before the cut.
        now: its norm before the first step behind it.
        spread: how far the norms of two draws of its beginning may differ.
        pace: how far its norm may have moved in one step before the cut: no further than the step itself.
    """

    name: str
    before: Readings
    now: float
    spread: float
    pace: float

    @property
    def is_told_apart(self) -> bool:
        """Whether its norm has left what another draw of the beginning would have."""
        return abs(self.before[-1][1] - self.before[0][1]) > 2 * self.spread

    @property
    def is_as_at_first(self) -> bool:
        """Whether the norm is that of the beginning, up to what another draw makes of it."""
        first = self.before[0][1]
        return self.now == first or (self.is_told_apart and abs(self.now - first) <= self.spread)

    def is_near(self, step: int) -> bool:
        """Return whether the norm is that of a step, as far as the windows around it tell."""
        known = near(self.before, step)
        if known is not None:
            low, high = known
            return low - (high - low) <= self.now <= high + (high - low)
        last, norm = self.before[-1]
        return abs(self.now - norm) <= self.pace * (step - last)

    def was_met_until(self, step: int) -> bool:
        """Return whether the norm is one that it had, or can have come to until a step."""
        values, slack = [value for _, value in self.before], self.pace * (step - self.before[-1][0])
        return min(values) - slack <= self.now <= max(values) + slack


@dataclass(frozen=True)
class WeightsNotResumed(Rule):
    """The program was started again, and its weights are not those that were trained.

    Why: the checkpoint was not loaded, or into another model than the one that trains, under other names with
    ``strict=False``: what was trained is lost, and the record of both parts is none of one training.

    Formula: of the parameters whose norm the first part has changed, by more than twice what a new draw may differ by
    (``sigmas`` standard deviations), at least ``share`` have before the first step behind the cut a norm that is that
    of the beginning of the run, up to a new draw; or of all that it has changed as many have one that lies beyond those
    recorded by more than the steps until the cut can have moved it: a norm moves by no more than the step. Silent
    where the norms are those of the step to which the optimizer's count belongs.
    """

    share: float = 0.5
    sigmas: float = 5.0

    code = "EG242"
    name = "weights-not-resumed"
    title = "Weights not resumed"
    severity = Severity.CRITICAL
    page = "gradients"
    signals = (WEIGHT_NORM, UPDATE_RATIO)
    source = (
        "derived: the norm of n independent normal entries varies from draw to draw by 1 / sqrt(2 n) of itself; a "
        "checkpoint lies on the way that was recorded"
    )
    fix = (
        "Load the checkpoint into the model that trains, before the optimizer is made, with strict=True, and look at "
        "the keys that load_state_dict returns."
    )
    faulty = "model = build(); optimizer.load_state_dict(kept['optimizer'])"
    healthy = "model.load_state_dict(kept['model']); optimizer.load_state_dict(kept['optimizer'])"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding, of the whole model."""
        cut = newest_cut(history)
        weights = [] if cut is None else self._changed(history, cut)
        if cut is None or not weights:
            return
        restored = restored_step(history, cut)
        if restored is not None and sum(weight.is_near(restored) for weight in weights) > len(weights) / 2:
            return
        back = [weight.name for weight in weights if weight.is_as_at_first]
        away = [weight.name for weight in weights if not weight.was_met_until(cut.step) and weight.name not in back]
        told = [weight for weight in weights if weight.is_told_apart or weight.now == weight.before[0][1]]
        names, among = (back, len(told)) if len(back) >= len(away) else (away, len(weights))
        if not names or len(names) < self.share * among:
            return
        how = "are as they were at the beginning" if names is back else "are none that were recorded"
        yield self.finding(
            history,
            f"the program went on at step {cut.step}, where the norms of {len(names)} of {among} parameters that had "
            f"been trained {how}: {listed(names)}",
            since=cut.step,
            evidence={"parameters": names[:20], "trained": len(weights), "checkpoint_step": restored},
        )

    def _changed(self, history: History, cut: Cut) -> list[_Weight]:
        found = []
        for site, series in history.at(ParameterSite, WEIGHT_NORM):
            before, behind = around(series, cut)
            if len(before) < 2 or not behind or behind[0][0] != cut.step or not isfinite(behind[0][1]):
                continue
            first, last = before[0][1], before[-1][1]
            size = prod(site.shape) if site.shape else 0
            spread = self.sigmas * first / sqrt(2 * size) if size else inf
            if isfinite(last) and abs(last - first) > _ROUNDING * first:
                ratios = [ratio for _, ratio in around(history.series(UPDATE_RATIO, site.path), cut)[0][-_RECENT:]]
                pace = _FASTER * max((ratio for ratio in ratios if isfinite(ratio)), default=0.0) * last
                found.append(_Weight(site.path, before, behind[0][1], spread, pace))
        return found


@dataclass(frozen=True)
class LossJumpsAtCut(Rule):
    """The program was started again, and the loss is higher than where it had been.

    Why: something did not come back: weights, the optimizer's state, the rate, running statistics, the average of the
    weights, a loss scale, or other data than before.

    Formula: the median of the first readings behind the cut is above the highest of the last ones before it, by more
    than ``sigmas`` standard errors of the difference, and by at least ``share`` of what had been learned: of the way
    from the first losses of the run. The last ones are those up to the step to which the optimizer's count belongs;
    where it counts none, those of the second half of the run, as the checkpoint may be an old one.
    """

    share: float = 0.2
    sigmas: float = 5.0

    code = "EG243"
    name = "loss-jumps-at-resume"
    title = "Loss jumps where the program went on"
    severity = Severity.WARNING
    signals = (LOSS_TOTAL,)
    source = (
        "derived: the standard error of the median of n readings is 1.25 sigma / sqrt(n); a fifth of what was learned "
        "is beyond the noise of a batch"
    )
    fix = (
        "Compare with the checkpoint what is loaded: weights, buffers, optimizer, scheduler, scaler, averages of the "
        "weights, the place in the data."
    )
    brought_by = ("EG242", "EG241", "EG240")
    faulty = "model.load_state_dict(kept['model'], strict=False)"
    healthy = "model.load_state_dict(kept['model'])"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        cut = newest_cut(history)
        if cut is None:
            return
        before, behind = ([r for r in part if isfinite(r[1])] for part in around(history.series(LOSS_TOTAL), cut))
        now = [value for _, value in behind[:_SHORT]]
        restored = restored_step(history, cut)
        last = [value for step, value in before if step <= (cut.step if restored is None else restored)][-_LONG:]
        if len(now) < _SHORT or len(last) < _LONG // 2:
            return
        first = median(value for _, value in before[:_SHORT])
        since = cut.step / 2 if restored is None else cut.step
        known = max([*last, *(value for step, value in before if step >= since)])
        rise, learned = median(now) - median(last), first - median(last)
        error = 1.25 * _noise(last) * sqrt(1 / len(last) + 1 / len(now))
        if median(now) > known and rise > self.sigmas * error and rise >= self.share * abs(learned):
            yield self.finding(
                history,
                f"it was {median(last):.4g} before step {cut.step}, where the program went on, and is "
                f"{median(now):.4g} behind it (at first it was {first:.4g})",
                since=cut.step,
                evidence={"before": median(last), "behind": median(now), "first": first, "standard_error": error},
            )


def _noise(values: list[float]) -> float:
    middle = median(values)
    return _TO_NORMAL * median(abs(value - middle) for value in values)
