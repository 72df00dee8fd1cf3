"""EG224: gradients that are others when the optimizer steps than the backward pass left them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import fmean

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.patience import patience
from edgeglass_diag.rules.training_state import learned_little
from edgeglass_diag.signals.parameters import GRADIENT_KEPT


@dataclass(frozen=True)
class GradientDrowned(Rule):
    """What the optimizer steps with has next to nothing to do with the gradient that backward gave.

    Why: noise, a permutation or the gradients of something else take the gradient's place between backward and step.
    Steps of usual size are taken, and go nowhere.

    Formula: the mean cosine between the gradient that the last backward pass left and the one that the step takes,
    over all recorded windows and over the newer half of them, is below 1 / sqrt(T) after T steps, and the loss is no
    more than ``learned`` (relative) better than chance, or, where that is not known, than in the beginning. It is said
    at the end of a training of at least ``steps`` steps, or when its patience is over. Scaling, clipping and
    accumulation keep the cosine near 1. Noise for privacy is meant: it is silent as long as the gradient adds up to
    more than the noise, or the model learns.
    """

    steps: int = 50
    windows: int = 10
    learned: float = 0.2

    code = "EG224"
    name = "gradient-drowned"
    title = "Gradients drowned in noise before the step"
    severity = Severity.WARNING
    page = "gradients"
    signals = (GRADIENT_KEPT,)
    source = (
        "derived: of T steps of one length the part along the gradient adds up to c T, what is independent of it to "
        "sqrt(T); DP-SGD, https://arxiv.org/abs/1607.00133, adds noise of deviation sigma C / B to each entry"
    )
    fix = "Look at what writes parameter.grad between backward() and step(): noise, a shuffle, other gradients."
    faulty = "p.grad += torch.randn_like(p.grad) for a gradient of 1e-3 per entry"
    healthy = "p.grad += 1e-3 * torch.randn_like(p.grad)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        kept = [value for value in history.series(GRADIENT_KEPT).values if isfinite(value)]
        taken = history.last_step + 1
        if len(kept) < self.windows or taken < self.steps:
            return
        cosine, newer = fmean(kept), fmean(kept[len(kept) // 2 :])
        over = history.ended or history.last_step >= patience(history)
        if not over or max(cosine, newer) >= 1 / sqrt(taken) or not learned_little(history, self.learned):
            return
        yield self.finding(
            history,
            f"the step takes a gradient with a cosine of {newer:.2g} to that of the backward pass, so that in {taken} "
            "steps chance moves the weights further than the loss does",
            evidence={"cosine": newer, "steps": taken},
        )
