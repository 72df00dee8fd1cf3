"""EG807 and EG808: steps that make numbers of weights into none, and optimizers whose numbers are too small to keep."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.cures import EPS_OF_FLOAT16
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.parameter_groups import listed
from edgeglass_diag.signals.parameters import (
    GRADIENT_NONFINITE,
    GRADIENT_NORM,
    OPTIMIZER_EPS,
    OPTIMIZER_LR,
    UPDATE_RATIO,
    WEIGHT_NORM,
)
from edgeglass_diag.site_paths import group
from edgeglass_diag.sites import ParameterSite

_LOST = 2.0**-25
"""Half of the smallest float16, 2^-24: what is no larger is rounded to 0 there (ties go to the even number)."""

_HALF = ("float16", "bfloat16")


def broken_by_step(history: History) -> tuple[int, list[str]] | None:
    """Return the first recorded step that made finite weights not finite although gradients were, and which weights."""
    broken: dict[int, list[str]] = {}
    for site, ratios in history.of(UPDATE_RATIO):
        state = ratios.streak(lambda _, value: not math.isfinite(value))
        if state is not None and _was_finite(history, site, state.since):
            broken.setdefault(state.since, []).append(site)
    return min(broken.items()) if broken else None


def _was_finite(history: History, site: str, step: int) -> bool:
    """Return whether a weight was a finite number other than 0 before a step, and its gradient finite."""
    weights = history.series(WEIGHT_NORM, site)
    index = bisect_right(weights.steps, step) - 1
    given = history.series(GRADIENT_NONFINITE, site).at(step) == 0
    return given and index >= 0 and 0 < weights.value(index) < math.inf


def _eps_lost(history: History) -> list[ParameterSite]:
    """Return the weights whose optimizer's eps is 0 in the float16 that it computes in."""
    return [
        site
        for site in history.sites_of(ParameterSite)
        if site.dtype == "float16" and site.state_dtype == "float16" and 0 < _eps(history, site) <= _LOST
    ]


def _eps(history: History, site: ParameterSite) -> float:
    if site.optimizer is None or site.group is None:
        return math.nan
    series = history.series(OPTIMIZER_EPS, group(site.optimizer, site.group))
    return series.last if len(series) else math.nan


@dataclass(frozen=True)
class StepBreaksWeights(Rule):
    """Gradients are finite, and the optimizer's step makes the weights NaN or infinite.

    Why: the fault lies in the step and in nothing before it. In float16 Adam's eps of 1e-8 is 0 and so is the second
    moment of a gradient below 5e-3, so that the step divides by 0. From there on all that follows is NaN.

    Formula: in a recorded window a weight that was finite and not 0, with a finite gradient, is not finite when its
    optimizer has stepped.
    """

    code = "EG807"
    name = "step-breaks-weights"
    title = "Optimizer step makes the weights NaN"
    severity = Severity.CRITICAL
    page = "gradients"
    signals = (UPDATE_RATIO, GRADIENT_NONFINITE, WEIGHT_NORM)
    source = (
        "IEEE 754 binary16: the smallest number is 2^-24 = 6e-8, and 1e-8 is 0; the second moment (1 - 0.999) g^2 is 0 "
        "for |g| < sqrt(2^-25 / 1e-3) = 5e-3; openai/CLIP #40"
    )
    fix = "Lower the learning rate of this optimizer by 100; where that changes nothing, look at its own arithmetic."
    cures = (EPS_OF_FLOAT16, Intervention("optimizer.lr", 0.01))
    faulty = "model.half(); Adam(model.parameters(), eps=1e-8)"
    healthy = "model.float(); torch.autocast and torch.amp.GradScaler"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for all weights that break at the first such step."""
        found = broken_by_step(history)
        if found is None:
            return
        step, names = found
        lost = {site.path: _eps(history, site) for site in _eps_lost(history)}
        half = {site.path: site.dtype for site in history.sites_of(ParameterSite) if site.dtype in _HALF}
        detail = f"gradients are finite at step {step}, and {listed(names, 'is', 'are')} not after it"
        finding = self.finding(
            history, detail, site=names[0], since=step, evidence={"parameters": names[:20], "rates": _rates(history)}
        )
        inside = next((name for name in names if name in lost), None)
        if inside is not None:
            eps = lost[inside]
            message = f"{finding.message}: the optimizer's eps of {eps:.0e} is 0 in float16, so that it divides by 0"
            yield replace(finding, message=message, fix=_EPS_FIX)
        elif dtypes := {half[name] for name in names if name in half}:
            yield replace(finding, message=f"{finding.message}, in {' and '.join(sorted(dtypes))}", fix=_HALF_FIX)
        else:
            yield finding


_EPS_FIX = (
    "Keep the weights in float32 and compute under torch.autocast with torch.amp.GradScaler; where they must stay "
    "float16, give the optimizer eps=1e-4."
)
_HALF_FIX = "Keep the weights in float32 and compute under torch.autocast; then lower the learning rate."


@dataclass(frozen=True)
class EpsLost(Rule):
    """The optimizer keeps its moments in float16, where its eps is 0.

    Why: eps keeps the step from a division by 0. In float16 1e-8 is 0, and so is the second moment of each gradient
    below 5e-3: such an entry makes a step of 0 / 0 or of infinity sooner or later.

    Formula: a weight in float16 whose optimizer keeps moments of its shape in float16, with 0 < eps <= 2^-25. Silent
    where such a step has broken the weights already (EG807).
    """

    code = "EG808"
    name = "eps-lost"
    title = "Optimizer's eps is 0 in float16"
    severity = Severity.WARNING
    page = "gradients"
    signals = (OPTIMIZER_EPS, GRADIENT_NORM)
    source = StepBreaksWeights.source
    fix = _EPS_FIX
    cures = (EPS_OF_FLOAT16,)
    faulty = "model.half(); Adam(model.parameters(), eps=1e-8)"
    healthy = "model.half(); Adam(model.parameters(), eps=1e-4)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        lost = _eps_lost(history)
        if lost and broken_by_step(history) is None:
            names, eps = [site.path for site in lost], _eps(history, lost[0])
            yield self.finding(
                history,
                f"{eps:.0e}, for {listed(names)}",
                site=names[0],
                evidence={"eps": eps, "parameters": len(names)},
            )


def _rates(history: History) -> dict[str, float]:
    return {site: series.last for site, series in history.of(OPTIMIZER_LR)}
