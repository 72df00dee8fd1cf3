"""EG3xx and EG4xx: norms, gap and scale of what the loss compares."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History, Series, held
from edgeglass_diag.rules.training_state import MOVED, sobering, stuck


@dataclass(frozen=True)
class NormalisationMissing(Rule):
    """Embeddings are multiplied without being normalised, and the logits are out of hand.

    Why: a logit scale is made for cosines. With lengths in it the softmax is a hard choice from the start.

    Formula: within a side the lengths differ by more than ``spread`` (std / mean), and logits are more than ``scale``
    times the cosines, in every recorded window over at least ``windows`` windows. Dot products of moderate size, as
    in dense retrieval, are silent; and larger ones, of what a LayerNorm gives out, where no scale is applied to them
    and the model learns, or has not yet had 20 steps to.
    """

    spread: float = 0.01
    scale: float = 100.0
    windows: float = 3

    code = "EG303"
    name = "normalisation-missing"
    severity = Severity.WARNING
    source = "CLIP clamps its scale at 100 (https://arxiv.org/abs/2103.00020); OpenAI-CLIP #10, #16"
    fix = "Normalise both sides: F.normalize(embedding, dim=-1) before the product."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per pair of sides."""
        for pair, series in history.of("embedding/scale"):
            large = history.streak(("EG303", self.scale, pair), series, lambda _, value: value > self.scale)
            if large is None or large.windows < self.windows or _learns_by_products(history, pair):
                continue
            for side in pair.split(" x "):
                spread, size = history.series("embedding/norm_spread", side), history.series("embedding/norm", side)
                if len(spread) and min(spread.values[-int(self.windows) :]) > self.spread:
                    yield self.finding(
                        history,
                        f"{side}: lengths are {size.last:.3g} and differ by {spread.last:.0%}, so that logits are "
                        f"{series.last:.3g} x cosine, since step {large.since}",
                        site=side.rsplit("[", 1)[0],
                        evidence={"norm": size.last, "norm_spread": spread.last, "scale": series.last},
                    )


@dataclass(frozen=True)
class NormalisedAcrossBatch(Rule):
    """Embeddings are normalised along the batch instead of along their own dimensions.

    Why: each sample's embedding then depends on the others of its batch. In-batch accuracy looks well; a sample alone,
    or a gallery of another size, gets other embeddings and another scale.

    Formula: no column of (B, D) differs from length 1 by more than ``unit``, and the lengths of the rows differ by more
    than ``uneven`` (std / mean), at one side, in every recorded window over at least ``windows`` windows. A batch norm
    makes columns of length sqrt(B) and is silent.
    """

    unit: float = 0.01
    uneven: float = 0.05
    windows: float = 3

    code = "EG308"
    name = "normalised-across-batch"
    severity = Severity.WARNING
    source = (
        "derived: F.normalize(x, dim=0) makes all columns 1 long; bfloat16 keeps 8 bits, 0.4 % at the length and at "
        "its entries"
    )
    fix = "Normalise along the last dimension: F.normalize(embedding, dim=-1)."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per side."""
        for side, columns in history.of("embedding/column_error"):
            rows = history.series("embedding/norm_spread", side)
            key = ("EG308", self.unit, self.uneven, side)
            unit = history.streak(key, columns, partial(self._across, rows))
            if unit is not None and unit.windows == len(columns) >= self.windows:
                yield self.finding(
                    history,
                    f"{side}: over the batch every dimension has length 1, while the lengths of the samples differ by "
                    f"{rows.last:.0%}",
                    site=side.rsplit("[", 1)[0],
                    evidence={"column_error": columns.last, "norm_spread": rows.last, "since": unit.since},
                )

    def _across(self, rows: Series, step: int, error: float) -> bool:
        return error <= self.unit and rows.at(step) > self.uneven


@dataclass(frozen=True)
class ModalityGap(Rule):
    """The two sides lie in two distant regions of the sphere.

    Why: it is typical of CLIP and no fault by itself: centring both sides moves R@1 only from .552 to .542. Worth
    knowing where thresholds on cosines are to be set across modalities.

    Formula: |mean image - mean text| of unit embeddings exceeds ``gap`` after the weights have moved by a fifth.
    """

    gap: float = 1.0

    code = "EG304"
    name = "modality-gap"
    severity = Severity.INFO
    source = "Mind the Gap, https://arxiv.org/abs/2203.02053: CLIP's own is 0.82"
    fix = "Nothing, where recall is good; otherwise a larger scale at the start makes the gap larger."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per pair of sides."""
        if history.cumulated_update(0) < MOVED:
            return
        for pair, series in history.of("embedding/gap"):
            if series.last > self.gap:
                yield self.finding(
                    history,
                    f"{pair}: the means of the sides are {series.last:.2f} apart",
                    site=pair,
                    evidence={"gap": series.last},
                )


@dataclass(frozen=True)
class OutputConstant(Rule):
    """What the model gives out no longer depends on the sample.

    Why: an objective that rewards likeness alone, as a cosine of pairs without negatives, is met by a constant.

    Formula: sample signal of a module whose output goes into no other module fell below ``signal`` and to a hundredth
    of its first value, over at least ``steps`` steps and ``windows`` windows. Where the loss compares embeddings that
    are seen, EG301 asks the finer question instead.
    """

    signal: float = 1e-3
    steps: float = 10
    windows: float = 4

    code = "EG307"
    name = "output-constant"
    severity = Severity.CRITICAL
    source = "derived: at 1e-3 the angle between two outputs is about 2 degrees; sentence-transformers #3469"
    fix = "Add negatives: in-batch cross-entropy, a margin, or a variance term."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding, at the first such module."""
        if any(True for _ in history.of("embedding/sample_signal")) or not history.last_step >= self.steps:
            return
        fed = {parent for (_, kind), site in history.sites.items() if kind == "module" for parent in site.parents}
        for site, series in history.of("activation/sample_signal"):
            if site in fed or series.values[0] < 100 * series.last:
                continue
            low = held(series, lambda _, value: value <= self.signal)
            if low is not None and low.lasting(steps=int(self.steps), windows=int(self.windows)):
                yield self.finding(
                    history,
                    f"{site or 'the model'}: the output hardly depends on the sample since step {low.since} (sample "
                    f"signal {series.last:.1e}, at first {series.values[0]:.1e})",
                    site=site,
                    evidence={"sample_signal": series.last, "first": series.values[0], "since": low.since},
                )
                return


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
    windows: float = 3

    code = "EG407"
    name = "scale-runaway"
    severity = Severity.WARNING
    source = "CLIP clamps at 100 'which we found necessary to prevent training instability'; 5 % for how it is read off"
    fix = "Clamp it after each step: log_scale.clamp_(max=math.log(100))."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per pair of sides."""
        for pair, series in history.of("embedding/scale"):
            large = history.streak(("EG407", self.scale, pair), series, lambda _, value: value > self.scale)
            spreads = [history.series("embedding/norm_spread", side) for side in pair.split(" x ")]
            unit = all(len(spread) and spread.last < 0.01 for spread in spreads)  # one side may carry the scale
            if not unit or large is None or large.windows < self.windows:
                continue
            if not _learns_by_products(history, pair):
                yield self.finding(
                    history,
                    f"{pair}: the scale is {series.last:.4g}, at first {series.values[0]:.4g}, above {self.scale:.0f} "
                    f"since step {large.since}",
                    site=pair,
                    evidence={"scale": series.last, "first": series.values[0], "since": large.since},
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
    severity = Severity.WARNING
    source = "derived: dL/ds = (weighted mean cosine) - (cosine of the pair); open_clip #815 (14.3 to 1, flat loss)"
    fix = "Look at the pairs and at the embeddings; take the scale out of weight decay."
    refuted_by_learning = True

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per pair of sides."""
        for pair, series in history.of("embedding/scale"):
            if 0 < series.last <= self.left * series.values[0] and stuck(history):
                yield self.finding(
                    history,
                    f"{pair}: the scale fell from {series.values[0]:.3g} to {series.last:.3g} while the loss stays at "
                    "chance",
                    site=pair,
                    evidence={"first": series.values[0], "scale": series.last},
                )


def _learns_by_products(history: History, pair: str) -> bool:
    """Whether logits are plain dot products of long embeddings, without a scale, and the loss is not stuck."""
    norms = [history.series("embedding/norm", side) for side in pair.split(" x ")]
    if not all(len(norm) and norm.last > 1.05 for norm in norms):  # beside a unit vector the other carries the scale
        return False
    scale = history.series("embedding/scale", pair).last
    return scale <= 1.05 * math.prod(norm.last for norm in norms) and (not stuck(history) or sobering(history))
