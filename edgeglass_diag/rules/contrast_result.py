"""EG318: a contrast that has learned next to nothing when the training ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from edgeglass_diag.measures.chance import contrastive_floor
from edgeglass_diag.records import Finding, Severity, Task
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.causality import DIVERGENCE, INPUTS, OBJECTIVE, REACH, STEPS
from edgeglass_diag.rules.cures import EITHER_RATE
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.patience import LONGEST
from edgeglass_diag.rules.training_state import MOVED
from edgeglass_diag.signals.losses import (
    LOSS_CANDIDATES,
    LOSS_LEVEL,
    LOSS_LOGIT_MAX,
    LOSS_PART,
    LOSS_TARGET_ENTROPY,
    LOSS_TOTAL,
    LOSS_VALUE,
)
from edgeglass_diag.signals.parameters import OPTIMIZER_LR
from edgeglass_diag.sites import LossSite


@dataclass(frozen=True)
class ContrastLearnedNothing(Rule):
    """A contrastive loss ends near the level of chance, after a training that has run its course.

    Why: ln(candidates) less the loss is what the embeddings tell of the partner, in nats (the bound of contrastive
    predictive coding). Where almost nothing is left of that at the end, the model is hardly better than an untrained
    one, even if its loss lies visibly below chance.

    Formula: the level less the mean of the newest ``windows`` values is at most ``share`` of what the loss could have
    fallen to: cosines times a scale give logits no larger than that scale, so that the largest logit seen tells the
    largest loss of a perfect model, ln(1 + (C-1) exp(-s C/(C-1))). Only when the training ends, with a rate that has
    come down to a tenth of its largest or after 1000 steps, and with weights that have moved by a fifth.
    """

    share: float = 0.1
    windows: int = 4

    code = "EG318"
    name = "contrast-learned-nothing"
    title = "Contrast ended near chance"
    severity = Severity.WARNING
    page = "overview"
    signals = (LOSS_VALUE, LOSS_LEVEL, LOSS_LOGIT_MAX)
    source = (
        "Representation Learning with Contrastive Predictive Coding, https://arxiv.org/abs/1807.03748: I >= ln N - "
        "loss; a tenth of ln 257 is what tells one of 257 from one of 148"
    )
    fix = (
        "Look at the steps first (learning rate, betas, noise in the gradients), then whether partners share anything."
    )
    cures = EITHER_RATE
    faulty = "5.25 among 257 candidates (chance 5.55) when the rate has come down to 0"
    healthy = "2.7 among 257 candidates"
    brought_by = (
        "EG401",
        "EG503",
        "EG309",
        "EG301",
        "EG302",
        "EG307",
        *INPUTS,
        *OBJECTIVE,
        *STEPS,
        *REACH,
        *DIVERGENCE,
    )

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per loss."""
        if not history.ended or not _has_run_its_course(history) or history.cumulated_update(0) < MOVED:
            return
        for site, values in history.at(LossSite, LOSS_VALUE):
            levels, candidates = history.series(LOSS_LEVEL, site.path), history.series(LOSS_CANDIDATES, site.path)
            if site.task is not Task.CONTRASTIVE or site.is_sigmoid or not len(levels) or candidates.last < 2:
                continue
            largest = max(history.series(LOSS_LOGIT_MAX, site.path).values)
            entropy = history.series(LOSS_TARGET_ENTROPY, site.path)
            if len(values) < self.windows or (len(entropy) and max(entropy.values) > 0):
                continue
            whole = history.series(LOSS_TOTAL)  # its newest step is one of training: an evaluation may follow
            if not len(history.series(LOSS_PART, site.path)) or values.steps[-1] < whole.steps[-1]:
                continue
            gained = levels.last - fmean(values.values[-self.windows :])
            possible = levels.last - contrastive_floor(largest, round(candidates.last))
            if gained <= self.share * possible:
                yield self.finding(
                    history,
                    f"{values.last:.4f} at the end, where knowing nothing has {levels.last:.4f} and a perfect model "
                    f"{levels.last - possible:.3g} or less: {max(0.0, gained / possible):.1%} of the way",
                    site=site.path,
                    evidence={"loss": values.last, "level": levels.last, "share": gained / possible},
                )


def _has_run_its_course(history: History) -> bool:
    """Return whether every rate has come down to a tenth of its largest, or the training was long."""
    rates = [series for _, series in history.of(OPTIMIZER_LR)]
    return history.last_step >= LONGEST or (bool(rates) and all(r.last <= 0.1 * max(r.values) for r in rates))
