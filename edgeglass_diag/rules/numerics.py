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
        site = self._first_module(history, since)
        parameters = [s for s, series in history.of("weight/norm") if not math.isfinite(series.last)]
        place = f"; first in the output of {site}" if site else ""
        yield self.finding(
            history,
            f"the {what} is not finite since step {since}{place}",
            site=site,
            evidence={"what": what, "since": since, "parameters_not_finite": parameters[:20]},
        )

    def _first_module(self, history: History, step: int) -> str:
        broken = [site for site, series in history.of("activation/nonfinite") if series.at(step) > 0]
        order = {path: site.order for (path, kind), site in history.sites.items() if kind == "module"}
        return min(broken, key=lambda site: order.get(site, len(order)), default="")
