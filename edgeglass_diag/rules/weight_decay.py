"""EG209 and EG210: weight decay."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, log, prod
from statistics import median

from edgeglass_diag import site_paths
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.series import Series
from edgeglass_diag.rules.training_state import at_chance
from edgeglass_diag.signals.parameters import (
    OPTIMIZER_LR,
    OPTIMIZER_WEIGHT_DECAY,
    WEIGHT_NORM,
    WEIGHT_ROW_SIGNAL,
)
from edgeglass_diag.sites import ParameterSite


@dataclass(frozen=True)
class DecayOnScale(Rule):
    """The logit scale is decayed as if it were a weight.

    Why: decay pulls ln s towards 0, that is, the scale towards 1, against what the loss asks for.

    Formula: a trained parameter of one entry that is at least 1 in magnitude, in a group with weight decay wd,
    with wd |w| at least ``pull``: Adam's normalised step is at most about 1. Its half-life is ln 2 / (lr wd) steps.
    It waits until decay alone, the sum of lr wd |w| over the steps so far, has taken ``taken`` from it: at the rates of
    a short fine-tuning it takes nothing worth a word.
    """

    pull: float = 0.3
    taken: float = 0.01

    code = "EG209"
    name = "decay-on-scale"
    title = "Weight decay on the logit scale"
    severity = Severity.WARNING
    page = "gradients"
    signals = (OPTIMIZER_WEIGHT_DECAY, WEIGHT_NORM, OPTIMIZER_LR)
    source = (
        "derived: AdamW's step is lr (m / sqrt(v) + wd w), |m| / sqrt(v) about 1 at most; open_clip spares parameters "
        "with fewer than two dimensions; 0.2 x ln(1 / .07) = 0.53, torch's default 0.01 gives 0.03; of ln s 0.01 are "
        "1 % of the scale, which moves a logit of 100 by 1"
    )
    fix = "Put the scale, gains and biases into a group without weight decay."
    faulty = "AdamW(model.parameters(), weight_decay=0.2)"
    healthy = "the logit scale in a group with weight_decay=0"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per parameter."""
        for site, size in history.at(ParameterSite, WEIGHT_NORM):
            group = _group(site)
            if group is None or prod(site.shape) > 1:
                continue
            decay, rate = history.series(OPTIMIZER_WEIGHT_DECAY, group), history.series(OPTIMIZER_LR, group)
            if not len(decay) or not len(rate) or size.values[0] < 1 or decay.last * size.values[0] < self.pull:
                continue
            taken = _sum_over_steps(rate) * decay.last * size.values[0]
            if taken < self.taken:
                continue
            peak = max(rate.values)
            life = log(2) / (peak * decay.last) if peak > 0 else float("inf")
            yield self.finding(
                history,
                f"{site.path} = {size.last:.3g} is decayed by {decay.last:.2g} ({group}), which halves it in "
                f"{life:.0f} steps at lr {peak:.2g} and has taken {taken:.2g} from it so far",
                site=site.path,
                evidence={"weight_decay": decay.last, "half_life": life, "taken": taken, "group": group},
            )


@dataclass(frozen=True)
class WeightsDecay(Rule):
    """Weight decay empties the weights faster than the loss fills them.

    Why: what is learned is decayed before it adds up; the model ends as a constant.

    Formula: the median norm of the matrices with decay fell to at most ``left`` of what it was, by no more than decay
    alone explains (1 - lr wd in each step, to the power of 1 / 2 at least), and the loss is no more than a fifth
    better than chance.
    """

    left: float = 0.5
    steps: int = 10

    code = "EG210"
    name = "weights-decay"
    title = "Weight decay too strong"
    severity = Severity.WARNING
    page = "gradients"
    signals = (WEIGHT_NORM, OPTIMIZER_WEIGHT_DECAY, OPTIMIZER_LR)
    source = "derived: with decoupled decay w shrinks by 1 - lr wd per step; TheDeepChecker: regularisation overwhelms"
    fix = "Lower the weight decay: lr x weight_decay x steps should stay well below 1."
    faulty = "lr=1e-3, weight_decay=10, 1000 steps"
    healthy = "lr=1e-3, weight_decay=0.1, 1000 steps"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        if history.last_step < self.steps or not at_chance(history, tolerance=0.2, steps=self.steps):
            return
        left, groups = [], set()
        for site, _ in history.at(ParameterSite, WEIGHT_ROW_SIGNAL):
            group, size = _group(site), history.series(WEIGHT_NORM, site.path)
            if group is not None and history.started(site.path):
                left.append(size.last / size.values[0] if size.values[0] else 1.0)
                groups.add(group)
        gone = max((self._exponent(history, group) for group in groups), default=0.0)
        if left and median(left) <= self.left and gone >= 0.5 * log(1 / max(median(left), 1e-30)):
            yield self.finding(
                history,
                f"the median weight matrix has {median(left):.1%} of its first norm left, and decay alone takes it to "
                f"{exp(-gone):.1%}",
                evidence={"left": median(left), "decay_times_steps": gone},
            )

    def _exponent(self, history: History, group: str) -> float:
        rate, decay = history.series(OPTIMIZER_LR, group), history.series(OPTIMIZER_WEIGHT_DECAY, group)
        return _sum_over_steps(rate) * decay.last if len(rate) and len(decay) else 0.0


def _sum_over_steps(series: Series) -> float:
    reach = [-1, *series.steps[:-1]]
    return sum(v * (s - b) for s, b, v in zip(series.steps, reach, series.values, strict=True))


def _group(site: ParameterSite) -> str | None:
    """Return the path of the parameter group that holds a parameter, None where none does."""
    if site.optimizer is None or site.group is None:
        return None
    return site_paths.group(site.optimizer, site.group)
