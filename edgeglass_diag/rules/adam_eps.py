"""EG228: gradients that are smaller than Adam's eps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from statistics import median

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.causality import INPUTS
from edgeglass_diag.rules.cures import ABOVE_EPS
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.series import Streak
from edgeglass_diag.rules.training_state import weight_matrices
from edgeglass_diag.signals.losses import LOSS_TOTAL
from edgeglass_diag.signals.parameters import GRADIENT_NORM, OPTIMIZER_BETA2, OPTIMIZER_EPS, UPDATE_RATIO
from edgeglass_diag.site_paths import group
from edgeglass_diag.sites import ParameterSite

_CHOSEN = 1e-6
"""Largest eps that is a guard against division by zero (torch 1e-8; BERT, ViT and LAMB 1e-6); a larger one is chosen to
damp the steps, with a rate to go with it."""
_SMALL = 1e-4
"""TheDeepChecker's lower bound of a step, as a part of the weight (https://arxiv.org/abs/2204.00694)."""
_NOT_FALLEN = 0.1
"""Part of its chance level, or of where it began, by which a loss has come down that has yet to be learned by."""


@dataclass(frozen=True)
class GradientsBelowEps(Rule):
    """The gradients are smaller than the eps to which Adam adds them, before anything is learned.

    Why: Adam divides by |g| + eps so that a step has the size of the rate, whatever that of the gradient. Below eps it
    does not: a gradient of a tenth of eps makes a tenth of a step, in each layer another part. A loss that is
    multiplied by a small number, or averaged over far more than the batch, brings that, and the curve falls slowly.

    Formula: with g = |gradient| / sqrt(entries) of a weight matrix, which is at least its typical entry, the step is
    g / (g + eps) of the rate; that is below ``share`` at half of the matrices or more, in every recorded window over at
    least ``steps`` steps and ``windows`` windows, which began before the loss was a tenth better than chance, or than
    in the beginning where that is not known. An eps above 1e-6 is chosen, often with a rate to go with it: there the
    median step must be below 1e-4 of the weight as well. Without second moments (SGD) silent. A warning while the model
    learns, a fact (info) once nearly all answers are right.
    """

    share: float = 1 / 3
    steps: int = 20
    windows: int = 5

    code = "EG228"
    name = "gradients-below-eps"
    title = "Gradients are smaller than Adam's eps"
    severity = Severity.WARNING
    page = "gradients"
    signals = (GRADIENT_NORM, OPTIMIZER_EPS)
    source = (
        "derived: m / (sqrt(v) + eps), https://arxiv.org/abs/1412.6980; rates are tried a factor of 3 apart (1e-3, "
        "3e-3), so that less than a third of a step is that of another rate"
    )
    fix = (
        "Look at what the loss is multiplied with or divided by (a weight, the number of pairs or tokens, accumulation "
        "twice); or lower eps far below the gradients."
    )
    cures = (ABOVE_EPS,)
    hinders_learning = True
    faulty = "loss = 1e-6 * cross_entropy(logits, labels)"
    healthy = "loss = cross_entropy(logits, labels)"
    brought_by = (*INPUTS, "EG214", "EG802", "EG208", "EG411", "EG301", "EG002")

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding for the whole model."""
        if not history.has(OPTIMIZER_EPS) or not history.has(OPTIMIZER_BETA2):
            return
        held = [site for site in weight_matrices(history) if site in history.roots]
        states = [(site, self._below(history, site, _eps(history, site))) for site in held]
        small = {site: state for site, state in states if state is not None}
        if not small or 2 * len(small) < len(held):
            return
        eps = max(_eps(history, site) for site in small)
        if eps > _CHOSEN and not _steps_are_small(history):
            return
        since = sorted(state.since for state in small.values())[(len(small) - 1) // 2]
        if not _had_learned_nothing(history, since):
            return
        rms = median(history.series(GRADIENT_NORM, site).last / history.roots[site] for site in small)
        total = history.series(LOSS_TOTAL)
        yield self.finding(
            history,
            f"{rms:.1e} per weight in the median, eps = {eps:.0e}, at {len(small)} of {len(held)} weight matrices "
            f"since step {since}; the loss is {total.last:.3g}",
            since=since,
            evidence={"gradient": rms, "eps": eps, "matrices": len(small), "loss": total.last},
        )

    def _below(self, history: History, site: str, eps: float) -> Streak | None:
        limit = eps * self.share / (1 - self.share) * history.roots[site]
        state = history.series(GRADIENT_NORM, site).streak(lambda _, norm: 0 < norm < limit)
        return state if state is not None and state.lasting(steps=self.steps, windows=self.windows) else None


def _eps(history: History, path: str) -> float:
    """Return the eps with which a weight is stepped, 0 where none is known."""
    site = history.site(ParameterSite, path)
    if site is None or site.optimizer is None or site.group is None:
        return 0.0
    known = history.series(OPTIMIZER_EPS, group(site.optimizer, site.group))
    return known.last if len(known) else 0.0


def _steps_are_small(history: History) -> bool:
    ratios = [series.last for _, series in history.of(UPDATE_RATIO) if len(series) and isfinite(series.last)]
    return bool(ratios) and median(ratios) < _SMALL


def _had_learned_nothing(history: History, step: int) -> bool:
    """Return whether the loss was not yet a tenth better than chance, or than in the beginning, at a step."""
    relative, total = history.relative_loss, history.series(LOSS_TOTAL)
    until = [value for at, value in zip(relative.steps, relative.values, strict=True) if at <= step]
    if until:
        return min(until) > -_NOT_FALLEN
    known = [value for at, value in zip(total.steps, total.values, strict=True) if at <= step]
    return bool(known) and known[0] > 0 and min(known) > (1 - _NOT_FALLEN) * known[0]
