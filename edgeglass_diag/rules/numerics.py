"""EG8xx: numerics."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History, held


@dataclass(frozen=True)
class NonFinite(Rule):
    """The loss or the weights are NaN or infinite.

    Why: from the first NaN on nothing that follows means anything.

    Formula: the whole loss is not finite in a recorded window, or a gradient is not finite in ``windows``
    recorded windows in a row. A single infinite gradient is normal where a loss scaler looks for its scale.
    """

    windows: float = 3

    code = "EG801"
    name = "non-finite"
    severity = Severity.CRITICAL
    source = "IEEE 754; torch.amp.GradScaler skips single overflowing steps by design"
    fix = "Lower the learning rate or add warm-up; look at the first module named here for a division, log or exp."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding, at the first module in order of execution whose output is not finite."""
        loss = held(history.series("loss/total"), lambda _, value: not math.isfinite(value))
        gradient = held(history.series("gradient/norm_clipped"), lambda _, value: not math.isfinite(value))
        if loss is None and (gradient is None or gradient.windows < self.windows):
            return
        what, since = ("loss", loss.since) if loss is not None else ("gradient", gradient.since if gradient else 0)
        site = _first_module(history, since)
        parameters = [s for s, series in history.of("weight/norm") if not math.isfinite(series.last)]
        place = f"; first in the output of {site}" if site else ""
        yield self.finding(
            history,
            f"the {what} is not finite since step {since}{place}",
            site=site,
            evidence={"what": what, "since": since, "parameters_not_finite": parameters[:20]},
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

    windows: float = 3
    among: float = 20

    code = "EG806"
    name = "gradients-made-finite"
    severity = Severity.WARNING
    source = "IEEE 754; windows as EG801; derived: the derivative of a sum over samples is NaN where that of one is"
    fix = (
        "Look behind the module named here for a division, log, sqrt or norm of zero; mask its input, not its gradient."
    )

    def check(self, history: History) -> Iterable[Finding]:
        """At most one finding, at the first module whose output is not finite in such a window, if there is one."""
        made = history.series("gradient/made_finite")
        newest = list(zip(made.steps, made.values, strict=True))[-int(self.among) :]
        steps = [step for step, value in newest if value > 0]
        if len(steps) >= self.windows:
            site = _first_module(history, steps[-1])
            yield self.finding(
                history,
                f"gradients are not finite after the backward pass and finite at the step, in {len(steps)} of "
                f"{len(newest)} recorded windows{f'; first in the output of {site}' if site else ''}",
                site=site,
                evidence={"since": steps[0], "windows": len(steps)},
            )


def _first_module(history: History, step: int) -> str:
    """The first in order of execution whose output is not finite at this step; empty where none is."""
    broken = [site for site, series in history.of("activation/nonfinite") if series.at(step) > 0]
    order = {path: site.order for (path, kind), site in history.sites.items() if kind == "module"}
    return min(broken, key=lambda site: order.get(site, len(order)), default="")
