"""EG411 and EG413: sigmoid losses over pairs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import log

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.cures import ABOVE_EPS
from edgeglass_diag.rules.history import History
from edgeglass_diag.signals.losses import (
    LOSS_CANDIDATES,
    LOSS_LABELS_DIAGONAL,
    LOSS_LABELS_NEGATIVE,
    LOSS_LABELS_ZERO,
    LOSS_TARGET_ENTROPY,
    LOSS_TOTAL,
    LOSS_WEIGHT,
)
from edgeglass_diag.sites import LossSite


@dataclass(frozen=True)
class SigmoidAveraged(Rule):
    """A sigmoid loss over all pairs is divided by their number instead of the batch.

    Why: its gradient is B times smaller than the published recipe's; with SGD, or a clipped or floored gradient, it
    moves nothing. Adam hides it until eps.

    Formula: of a sigmoid loss over a square of pairs, whose rows have in the mean between half a match and two, and of
    those with a single one at least half have it on the diagonal, the weight per row, read off its gradient, is 1 /
    candidates, or up to ``excess`` times more or less, in every one of the newest ``windows`` recorded windows, where
    the published one is 1. A mean over the labels of a tagging head is silent, and so is a weight that is smaller for
    another reason, of which EG228 tells where it matters.
    """

    excess: float = 2.0
    windows: int = 3

    code = "EG411"
    name = "sigmoid-averaged"
    title = "Sigmoid loss averaged over all pairs"
    severity = Severity.WARNING
    page = "overview"
    signals = (LOSS_WEIGHT, LOSS_CANDIDATES)
    source = "SigLIP sums over the pairs and divides by B (https://arxiv.org/abs/2303.15343); big_vision #115"
    fix = "Sum over all pairs and divide by the batch size."
    cures = (Intervention("optimizer.lr", 100), ABOVE_EPS)
    faulty = "-logsigmoid(signs * logits).mean()"
    healthy = "-logsigmoid(signs * logits).sum() / len(logits)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per loss."""
        for site, series in history.at(LossSite, LOSS_WEIGHT):
            candidates = history.series(LOSS_CANDIDATES, site.path)
            if not site.is_sigmoid or not len(candidates) or candidates.last < 8:
                continue
            if not self._are_pairs(history, site.path):
                continue
            recent = series.values[-self.windows :]
            low, high = 1 / (self.excess * candidates.last), self.excess / candidates.last
            if len(recent) >= self.windows and low <= min(recent) <= max(recent) <= high:
                yield self.finding(
                    history,
                    f"{site.path} has a weight of {series.last:.2e} per row, about 1 / {candidates.last:.0f} of the "
                    "published one",
                    site=site.path,
                    evidence={"weight": series.last, "candidates": candidates.last},
                )

    def _are_pairs(self, history: History, site: str) -> bool:
        newest = slice(-self.windows, None)
        diagonal = history.series(LOSS_LABELS_DIAGONAL, site).values
        matches = history.series(LOSS_TARGET_ENTROPY, site).values[newest]  # ln of their mean number in a row
        paired = len(diagonal) >= self.windows and all(share >= 0.5 for share in diagonal[newest])
        return paired and all(abs(entropy) <= log(2) for entropy in matches)


@dataclass(frozen=True)
class NothingPushedApart(Rule):
    """The labels of a sigmoid loss are +1 and 0: no combination counts as a stranger.

    Why: -log sigmoid(label x logit) of a label 0 is ln 2 whatever the logit is. Only pairs are pulled together, and to
    make everything alike is the shortest way down.

    Formula: at the only sigmoid loss, which explains the whole loss, at least ``share`` of label x logit is exactly 0
    and none has the sign opposite to its logit, in every recorded window over at least ``windows`` windows. Zeros
    with labels of -1, which take copies or easy strangers out of the loss, are silent.
    """

    share: float = 0.5
    windows: int = 3

    code = "EG413"
    name = "nothing-pushed-apart"
    title = "Sigmoid loss without negative labels"
    severity = Severity.CRITICAL
    page = "overview"
    signals = (LOSS_LABELS_ZERO, LOSS_LABELS_NEGATIVE)
    source = "SigLIP's labels are 2 I - 1 (https://arxiv.org/abs/2303.15343); derived: the slope of a constant is 0"
    fix = "Use labels = 2 * torch.eye(B) - 1, or binary_cross_entropy_with_logits with targets of 0 and 1."
    faulty = "-logsigmoid(eye(B) * logits).sum() / B"
    healthy = "-logsigmoid((2 * eye(B) - 1) * logits).sum() / B"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        sigmoid = [site.path for site in history.sites_of(LossSite) if site.is_sigmoid]
        explained = history.relative_loss.steps[-1:] == history.series(LOSS_TOTAL).steps[-1:]
        if len(sigmoid) != 1 or not explained:
            return  # another term may push apart
        zero, negative = (history.series(signal, sigmoid[0]) for signal in (LOSS_LABELS_ZERO, LOSS_LABELS_NEGATIVE))
        none = negative.streak(lambda step, value: value == 0 and zero.at(step) >= self.share)
        if none is not None and none.windows == len(negative) >= self.windows:
            yield self.finding(
                history,
                f"{zero.last:.0%} of the labels of {sigmoid[0]} are 0 and none is -1, since step {none.since}",
                site=sigmoid[0],
                since=none.since,
                evidence={"zero": zero.last},
            )
