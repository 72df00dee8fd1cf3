"""EG407 and EG408: the logit scale."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.causality import DIVERGENCE, OBJECTIVE, STEPS
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.training_state import at_chance, recovering_from_overconfidence
from edgeglass_diag.signals.embeddings import (
    EMBEDDING_NORM,
    EMBEDDING_NORM_SPREAD,
    EMBEDDING_SCALE,
)
from edgeglass_diag.sites import PairSite


@dataclass(frozen=True)
class ScaleRunaway(Rule):
    """The logit scale has left the range in which CLIP trains.

    Why: without a clamp the scale grows as long as training pairs can be told apart; gradients then come from a few
    hard pairs alone, and exp overflows in half precision.

    Formula: logits are more than ``scale`` times the cosines of embeddings of one length, in every recorded window over
    at least ``windows`` windows. Plain dot products have no scale that could run away: of embeddings that are long by
    construction, as those of a LayerNorm, they are silent where the model learns, or has not yet had 20 steps to.
    """

    scale: float = 105.0
    windows: int = 3

    code = "EG407"
    name = "scale-runaway"
    title = "Logit scale runs away"
    severity = Severity.WARNING
    page = "overview"
    signals = (EMBEDDING_SCALE, EMBEDDING_NORM_SPREAD)
    source = "CLIP clamps at 100 'which we found necessary to prevent training instability'; 5 % for how it is read off"
    fix = "Clamp it after each step: log_scale.clamp_(max=math.log(100))."
    cures = (Intervention("loss.temperature", 0.1), Intervention("optimizer.lr", 0.1))
    faulty = "scale = log_scale.exp()  # 244"
    healthy = "scale = log_scale.exp().clamp(max=100)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per pair of sides."""
        for pair, series in history.at(PairSite, EMBEDDING_SCALE):
            large = series.streak(lambda _, value: value > self.scale)
            spreads = [history.series(EMBEDDING_NORM_SPREAD, side) for side in pair.sides]
            unit = all(len(spread) and spread.last < 0.01 for spread in spreads)  # one side may carry the scale
            if not unit or large is None or large.windows < self.windows:
                continue
            if not learns_by_products(history, pair):
                yield self.finding(
                    history,
                    f"{series.last:.4g}, at first {series.first:.4g}, above {self.scale:.0f} since step "
                    f"{large.since} at {pair.path}",
                    site=pair.path,
                    since=large.since,
                    evidence={"scale": series.last, "first": series.first},
                )


@dataclass(frozen=True)
class ScaleDecayed(Rule):
    """The logit scale falls while nothing is learned.

    Why: the gradient lowers the scale as long as pairs are no closer than the weighted rest: a symptom of embeddings
    that carry nothing, of mispaired data, or of decay on the scale.

    Formula: the scale fell to at most ``left`` of its first value, and the loss is no more than a tenth better than
    chance over at least 20 steps.
    """

    left: float = 0.6

    code = "EG408"
    name = "scale-decayed"
    title = "Logit scale falls"
    severity = Severity.WARNING
    page = "overview"
    signals = (EMBEDDING_SCALE,)
    source = "derived: dL/ds = (weighted mean cosine) - (cosine of the pair); open_clip #815 (14.3 to 1, flat loss)"
    fix = "Look at the pairs and at the embeddings: the scale falls as long as pairs are no closer than strangers."
    cures = (Intervention("optimizer.weight_decay_of_vectors", 0),)
    refuted_by_learning = True
    faulty = "scale 14.3 to 1, loss flat"
    healthy = "scale 14.3 to 12, then 30, loss falling"
    brought_by = ("EG209", "EG301", "EG503", *OBJECTIVE, *DIVERGENCE, *STEPS)

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per pair of sides."""
        for pair, series in history.of(EMBEDDING_SCALE):
            if 0 < series.last <= self.left * series.first and at_chance(history):
                yield self.finding(
                    history,
                    f"from {series.first:.3g} to {series.last:.3g} at {pair}, while the loss stays at chance",
                    site=pair,
                    evidence={"first": series.first, "scale": series.last},
                )


def learns_by_products(history: History, pair: PairSite) -> bool:
    """Return whether logits are plain dot products of long embeddings, without a scale, and the model learns."""
    norms = [history.series(EMBEDDING_NORM, side) for side in pair.sides]
    if not all(len(norm) and norm.last > 1.05 for norm in norms):  # of a unit vector and another, that one is the scale
        return False
    if history.series(EMBEDDING_SCALE, pair.path).last > 1.05 * math.prod(norm.last for norm in norms):
        return False
    return not at_chance(history) or recovering_from_overconfidence(history)
