"""EG240 and EG241: a learning rate or a state of the optimizer that a program started again has not brought back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isclose

from edgeglass_diag.records import Cut, Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.cuts import Readings, around, near, newest_cut, restored_step
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.series import Series
from edgeglass_diag.signals.parameters import OPTIMIZER_LR, OPTIMIZER_STATE, OPTIMIZER_STEPS

_EXACT = 1e-6
"""Relative difference within which two rates are one: a schedule computes in float64, and is kept as that."""


@dataclass(frozen=True)
class RateNotResumed(Rule):
    """The program was started again, and its learning rate is not that of the checkpoint.

    Why: the scheduler was not saved or not loaded, so that it warms up again or begins at its peak: what was learned at
    a small rate is washed away, and the rest of the schedule is another one.

    Formula: in the first ``windows`` windows behind the cut the rate is not between those that were recorded around the
    steps to which the optimizer's count belongs; where these are not recorded, it takes the values that it had in the
    first windows of the run, or it is higher than it ever was and its last rise would bring it to. In each case it is
    off by more than ``change``. Silent where it is merely
    lower than before: schedules fall between two recorded windows, as at the end of an epoch. A fact where the program
    had come to its own end at a rate of at most a tenth of the peak: it is trained further, with another schedule.
    """

    change: float = 0.1
    windows: int = 4

    code = "EG240"
    name = "rate-not-resumed"
    title = "Learning rate not resumed"
    severity = Severity.WARNING
    page = "gradients"
    signals = (OPTIMIZER_LR,)
    source = (
        "derived: the schedule is a function of the step, and its recorded values around a step bound it there; a rate "
        "that is off by less than a tenth is less than grids of rates tell apart (factors of 2 to 3)"
    )
    fix = "Save scheduler.state_dict() with the checkpoint, and load it behind the optimizer's, before the first step."
    faulty = "optimizer.load_state_dict(kept['optimizer']); scheduler = LambdaLR(optimizer, warm_up)"
    healthy = "optimizer.load_state_dict(kept['optimizer']); scheduler.load_state_dict(kept['scheduler'])"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding, of the first group with the fault."""
        cut = newest_cut(history)
        if cut is None:
            return
        restored = restored_step(history, cut)
        for group, series in history.of(OPTIMIZER_LR):
            before, behind = around(series, cut)
            if not before or len(behind) < self.windows:
                continue
            said = self._fault(series, before, behind[: self.windows], restored)
            if said:
                further = cut.ended and before[-1][1] <= 0.1 * max(rate for _, rate in before)
                step, rate = behind[self.windows - 1]
                yield self.finding(
                    history,
                    f"the program went on at step {cut.step}, and the rate of {group} is {rate:.3g} at step {step}; "
                    f"{said}",
                    severity=Severity.INFO if further else None,
                    since=cut.step,
                    evidence={"rate_before": before[-1][1], "rate_behind": rate, "checkpoint_step": restored},
                )
                return

    def _fault(self, series: Series, before: Readings, behind: Readings, restored: int | None) -> str:
        """Return what is wrong, empty where nothing is known to be.

        The first rate behind the cut tells nothing: the optimizer brings its own back, until its scheduler steps.
        """
        last, was = before[-1]
        step, rate = behind[-1]
        known = None if restored is None else near(before, restored + step - behind[0][0])
        if known is not None:
            low, high = known
            if low * (1 - self.change) <= rate <= high * (1 + self.change):
                return ""
            return f"at the step to which the optimizer's count belongs it was {high:.3g}"
        if isclose(rate, was, rel_tol=self.change):
            return ""
        if self._begins_again(series, behind):
            return f"it was {was:.3g} at step {last}, and goes through the values of the first steps again"
        rise = max(0.0, (was - before[-2][1]) / (last - before[-2][0])) if len(before) > 1 else 0.0
        highest = max(max(value for _, value in before), was + 2 * (step - last) * rise)
        return f"it was never above {highest:.3g} before" if rate > (1 + self.change) * highest else ""

    def _begins_again(self, series: Series, behind: Readings) -> bool:
        first = behind[0][0]
        return all(isclose(rate, series.at(step - first), rel_tol=_EXACT) for step, rate in behind[1:])


@dataclass(frozen=True)
class StateNotResumed(Rule):
    """The program was started again, and its optimizer has lost what it keeps from step to step.

    Why: only the weights were saved or loaded. Adam's first steps have then no second moment to divide by: each entry
    moves by the whole rate, in directions that the last batches alone choose, and momentum begins at nothing; the loss
    jumps or stalls for 1 / (1 - beta2) steps.

    Formula: before its first step behind the cut the optimizer keeps something other than 0 for at most half as many
    of the parameters as before; or its count of steps is 0 although it keeps moments, so that the correction of their
    bias multiplies them by up to 1 / (1 - beta).
    """

    code = "EG241"
    name = "optimizer-state-not-resumed"
    title = "Optimizer state not resumed"
    severity = Severity.WARNING
    page = "gradients"
    signals = (OPTIMIZER_STATE, OPTIMIZER_STEPS)
    source = "derived: moments are 0 before an optimizer's first step alone; https://arxiv.org/abs/1412.6980, 3"
    fix = "Save optimizer.state_dict() with the checkpoint, and load it before the first step."
    faulty = "model.load_state_dict(kept['model']); optimizer = AdamW(model.parameters())"
    healthy = "model.load_state_dict(kept['model']); optimizer.load_state_dict(kept['optimizer'])"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding, of the first optimizer with the fault."""
        cut = newest_cut(history)
        for group, series in history.of(OPTIMIZER_STATE) if cut is not None else ():
            assert cut is not None
            before, behind = around(series, cut)
            if not before or not behind or behind[0][0] != cut.step:
                continue
            had, has = max(share for _, share in before), behind[0][1]
            said = f"it keeps nothing for {1 - has:.0%} of the parameters" if has <= had / 2 else ""
            said = said or self._count(history, cut, group)
            if had > 0 and said:
                yield self.finding(
                    history,
                    f"the program went on at step {cut.step} with an optimizer that begins anew: {said}",
                    since=cut.step,
                    evidence={"share_before": had, "share_behind": has, "group": group},
                )
                return

    @staticmethod
    def _count(history: History, cut: Cut, group: str) -> str:
        before, behind = around(history.series(OPTIMIZER_STEPS, group), cut)
        lost = bool(before and behind) and behind[0][1] == 0 < max(count for _, count in before)
        return "it counts 0 steps, although it has moments" if lost else ""
