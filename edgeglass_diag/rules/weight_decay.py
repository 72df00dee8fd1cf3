"""EG209 and EG210: weight decay."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import log, prod, sqrt
from statistics import median

from edgeglass_diag import site_paths
from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.loss import guessing
from edgeglass_diag.rules.series import Series
from edgeglass_diag.rules.training_state import at_chance, learned_little
from edgeglass_diag.signals.losses import LOSS_TOTAL
from edgeglass_diag.signals.parameters import (
    GRADIENT_NORM,
    OPTIMIZER_BETA2,
    OPTIMIZER_DECOUPLED_WEIGHT_DECAY,
    OPTIMIZER_LR,
    OPTIMIZER_WEIGHT_DECAY,
    UPDATE_RATIO,
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
    a short fine-tuning it takes nothing worth a word. A fact (info) once nearly all answers are right.
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
    cures = (Intervention("optimizer.weight_decay_of_vectors", 0), Intervention("optimizer.weight_decay", 0))
    hinders_learning = True
    faulty = "AdamW(model.parameters(), weight_decay=0.2)"
    healthy = "the logit scale in a group with weight_decay=0"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per parameter."""
        for site, size in history.at(ParameterSite, WEIGHT_NORM):
            group = _group(site)
            if group is None or prod(site.shape) > 1:
                continue
            decay, rate = history.series(OPTIMIZER_WEIGHT_DECAY, group), history.series(OPTIMIZER_LR, group)
            if not len(decay) or not len(rate) or size.first < 1 or decay.last * size.first < self.pull:
                continue
            taken = _sum_over_steps(rate) * decay.last * size.first
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

    Formula: the median norm of the matrices with decay fell to at most ``left`` of what it was, and

    - by no more than decay alone explains (1 - lr wd in each step, to the power of 1 / 2 at least), while the loss is
      no more than a fifth better than chance; or
    - when it did so, decay had been the larger part of the step of the median matrix in at least half of the steps, and
      the loss had more than half of its chance level left, or, where that is not known, of where it began. Decoupled,
      decay moves a weight by lr wd of itself, which is the larger part from 1 / sqrt(2) of the update on; added to the
      gradient, it is so where wd |w| exceeds the gradient. Where steps balance decay it is sqrt(lr wd / 2) of an
      update, below 5 % at usual settings, and a model that has learned first is silent (grokking); or
    - the norm fell to half of that, ``left`` squared, decay alone explains it, and the loss has more than half left
      (what was learned before is decayed with the rest).

    A fact (info) once nearly all answers are right. Silent of a single matrix where they are better than guesses: the
    loss of a linear probe is convex, and decay makes its logits smaller but keeps their order. Such a model ends with
    small weights and a loss near chance, and classifies well.
    """

    left: float = 0.5
    steps: int = 10

    code = "EG210"
    name = "weights-decay"
    title = "Weight decay too strong"
    severity = Severity.WARNING
    page = "gradients"
    signals = (WEIGHT_NORM, OPTIMIZER_WEIGHT_DECAY, OPTIMIZER_LR)
    source = (
        "derived: with decoupled decay w shrinks by 1 - lr wd per step; https://arxiv.org/abs/2305.17212: in balance "
        "a step turns a weight by sqrt(2 lr wd); https://arxiv.org/abs/2404.04454: AdamW holds weights below 1 / wd; "
        "TheDeepChecker: regularisation overwhelms"
    )
    fix = "Lower the weight decay: lr x weight_decay x steps should stay well below 1."
    cures = (Intervention("optimizer.weight_decay", 0),)
    hinders_learning = True
    faulty = "lr=1e-3, weight_decay=10, 1000 steps"
    healthy = "lr=1e-3, weight_decay=0.1, 1000 steps"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        held = _held(history)
        left = median(self._left(history, site, -1) for site in held) if held else 1.0
        if history.last_step < self.steps or left > self.left or self._probes_well(history):
            return
        gone = max(self._exponent(history, group) for group in {_group(site) for site in held} if group)
        explained = gone >= 0.5 * log(1 / max(left, 1e-30)) and at_chance(history, tolerance=0.2, steps=self.steps)
        deep = gone >= 0.5 * log(1 / max(left, 1e-30)) and left <= self.left**2 and learned_little(history, 0.5)
        if explained or deep or (self._just_crossed(history, held) and self._outpaced(history, held)):
            yield self.finding(
                history,
                f"the median weight matrix has {left:.1%} of its first norm left, and the loss has come to "
                f"{history.series(LOSS_TOTAL).last:.3g}",
                evidence={"left": left, "decay_times_steps": gone},
            )

    def passed_since(self, history: History, finding: Finding) -> int | None:
        """Return the step since which the answers of a probe are better than guesses, where they are."""
        return history.last_step - self.steps if self._probes_well(history) else None

    def _probes_well(self, history: History) -> bool:
        """Return whether a single matrix is trained, and lately answers better than by chance."""
        since = history.last_step - self.steps
        is_probe = len(_held(history)) == 1 and history.answers(since)[1] > 0
        return is_probe and not guessing(history, since)

    def _left(self, history: History, site: ParameterSite, reading: int) -> float:
        """Return what one of the readings of a weight's norm is of the first."""
        size = history.series(WEIGHT_NORM, site.path).values
        return size[max(reading, -len(size))] / size[0] if size[0] else 1.0

    def _just_crossed(self, history: History, held: list[ParameterSite]) -> bool:
        return median(self._left(history, site, -2) for site in held) > self.left

    def _outpaced(self, history: History, held: list[ParameterSite]) -> bool:
        """Return whether decay was most of the steps so far, and the loss has not come half-way."""
        return learned_little(history, 0.5) and median(_decayed_share(history, site) for site in held) >= 0.5

    def _exponent(self, history: History, group: str) -> float:
        rate, decay = history.series(OPTIMIZER_LR, group), history.series(OPTIMIZER_WEIGHT_DECAY, group)
        return _sum_over_steps(rate) * decay.last if len(rate) and len(decay) else 0.0


def _held(history: History) -> list[ParameterSite]:
    """Return the matrices that an optimizer holds and that did not start at zero."""
    held = [site for site, _ in history.at(ParameterSite, WEIGHT_ROW_SIGNAL) if _group(site)]
    return [site for site in held if history.started(site.path)]


def _decayed_share(history: History, site: ParameterSite) -> float:
    """Return the share of the steps so far in which decay moved a weight further than its gradient, in [0, 1]."""
    group = _group(site) or ""
    decay, rate = history.series(OPTIMIZER_WEIGHT_DECAY, group), history.series(OPTIMIZER_LR, group)
    ratios, sizes = history.series(UPDATE_RATIO, site.path), history.series(WEIGHT_NORM, site.path)
    governed = total = 0
    for step, reach in zip(sizes.steps, [-1, *sizes.steps[:-1]], strict=True):
        if _is_decoupled(history, group):
            larger = rate.at(step) * decay.at(step) >= sqrt(0.5) * ratios.at(step)
        else:
            larger = decay.at(step) * sizes.at(step) >= history.series(GRADIENT_NORM, site.path).at(step)
        governed, total = governed + larger * (step - reach), total + step - reach
    return governed / total if total else 0.0


def _is_decoupled(history: History, group: str) -> bool:
    """Return whether decay acts on the weights themselves; SGD and its kin, without betas, add it to gradients."""
    said = history.series(OPTIMIZER_DECOUPLED_WEIGHT_DECAY, group)
    return said.last > 0 if len(said) else len(history.series(OPTIMIZER_BETA2, group)) > 0


def _sum_over_steps(series: Series) -> float:
    reach = [-1, *series.steps[:-1]]
    return sum(v * (s - b) for s, b, v in zip(series.steps, reach, series.values, strict=True))


def _group(site: ParameterSite) -> str | None:
    """Return the path of the parameter group that holds a parameter, None where none does."""
    if site.optimizer is None or site.group is None:
        return None
    return site_paths.group(site.optimizer, site.group)
