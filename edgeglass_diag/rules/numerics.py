"""EG8xx: numerics."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule, Stage
from edgeglass_diag.rules.broken_steps import broken_by_step
from edgeglass_diag.rules.causality import INPUTS
from edgeglass_diag.rules.history import History
from edgeglass_diag.signals.activations import ACTIVATION_NONFINITE
from edgeglass_diag.signals.losses import LOSS_TOTAL
from edgeglass_diag.signals.parameters import GRADIENT_MADE_FINITE, GRADIENT_NORM, GRADIENT_NORM_CLIPPED, WEIGHT_NORM
from edgeglass_diag.sites import ModuleSite


@dataclass(frozen=True)
class NonFinite(Rule):
    """The loss or the weights are NaN or infinite.

    Why: from the first NaN on nothing that follows means anything.

    Formula: the whole loss is not finite in a recorded window, or a gradient is not finite in ``windows``
    recorded windows in a row. A single infinite gradient is normal where a loss scaler looks for its scale.
    """

    windows: int = 3

    code = "EG801"
    name = "non-finite"
    title = "NaN or infinity"
    severity = Severity.CRITICAL
    page = "gradients"
    signals = (GRADIENT_NORM, LOSS_TOTAL, GRADIENT_NORM_CLIPPED, ACTIVATION_NONFINITE)
    source = "IEEE 754; torch.amp.GradScaler skips single overflowing steps by design"
    fix = "Lower the learning rate or add warm-up; look at the first module named here for a division, log or exp."
    cures = (Intervention("optimizer.lr", 0.1), Intervention("autocast.off"), Intervention("optimizer.clip", 1))
    faulty = "loss nan from step 30 on"
    healthy = "one infinite gradient that the scaler skips"
    stages = (Stage.RUN, Stage.LOG)
    brought_by = ("EG827", "EG219", "EG807", *INPUTS, "EG407", "EG303", "EG104", "EG204", "EG202")

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding, at the first module whose output is not finite, unless a step broke the weights."""
        loss = history.series(LOSS_TOTAL).streak(lambda _, value: not math.isfinite(value))
        gradient = history.series(GRADIENT_NORM_CLIPPED).streak(lambda _, value: not math.isfinite(value))
        if loss is None and (gradient is None or gradient.windows < self.windows):
            return
        what, since = ("loss", loss.since) if loss is not None else ("gradient", gradient.since if gradient else 0)
        broken = broken_by_step(history)
        site = _first_module(history, since) if broken is None or broken[0] >= since else ""
        parameters = [s for s, series in history.of(WEIGHT_NORM) if not math.isfinite(series.last)]
        where = f", first in the output of {site}" if site else ""
        where = where or (f", the weights since step {broken[0]}" if broken else "")
        finding = self.finding(
            history,
            f"the {what} is not finite since step {since}{where}",
            site=site,
            since=since,
            evidence={"what": what, "parameters_not_finite": parameters[:20]},
        )
        if broken is not None and broken[0] < since:
            yield replace(finding, fix=_STEP_FIX)
        else:
            yield finding if since > 0 or not site else replace(finding, fix=_START_FIX)


_STEP_FIX = "Look at the optimizer: its step has broken the weights, and what follows is computed from them."
_START_FIX = (
    "Look at the first module named here for a division, log, sqrt or exp, and at its inputs: no step was taken yet, "
    "so that the learning rate has no part in it."
)


@dataclass(frozen=True)
class GradientsMadeFinite(Rule):
    """Gradients are NaN or infinite after the backward pass, and something puts numbers in their place.

    Why: ``nan_to_num`` hides what is wrong and puts nothing right: NaN that enters a backward pass at one sample
    reaches the weights of all, and zeros in its place are a step without this batch.

    Formula: the gradients of some parameters of the first optimizer are not finite after a backward pass and are finite
    when it steps, in at least ``windows`` of the newest ``among`` recorded windows. A loss scaler that meets infinite
    gradients takes no step, and is not meant.
    """

    windows: int = 3
    among: int = 20

    code = "EG806"
    name = "gradients-made-finite"
    title = "NaN gradients replaced by numbers"
    severity = Severity.WARNING
    page = "gradients"
    signals = (GRADIENT_MADE_FINITE, ACTIVATION_NONFINITE)
    source = "IEEE 754; windows as EG801; derived: the derivative of a sum over samples is NaN where that of one is"
    fix = (
        "Look behind the module named here for a division, log, sqrt or norm of zero; mask its input, not its gradient."
    )
    faulty = "p.grad.nan_to_num_(0)  # x / x.norm(), and some x are 0"
    healthy = "F.normalize(x, dim=-1)"
    brought_by = ("EG827", *INPUTS)

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding, at the first module whose output is not finite in such a window."""
        made = history.series(GRADIENT_MADE_FINITE)
        newest = made.newest(self.among)
        steps = [step for step, value in newest if value > 0]
        if len(steps) >= self.windows:
            site = _first_module(history, steps[-1])
            yield self.finding(
                history,
                f"in {len(steps)} of {len(newest)} recorded windows they are not finite after the backward pass, and "
                f"finite when the optimizer steps{f'; first in the output of {site}' if site else ''}",
                site=site,
                since=steps[0],
                evidence={"windows": len(steps)},
            )


def _first_module(history: History, step: int) -> str:
    """Return the first module in order of execution whose output is not finite at this step; empty where none is."""
    broken = [site for site, series in history.of(ACTIVATION_NONFINITE) if series.at(step) > 0]
    order = {site.path: site.order for site in history.sites_of(ModuleSite)}
    return min(broken, key=lambda site: order.get(site, len(order)), default="")
