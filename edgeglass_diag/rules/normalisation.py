"""EG303 and EG308: embeddings that are not normalised, or along the wrong dimension."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.logit_scale import learns_by_products
from edgeglass_diag.rules.loss import TemperatureMissing, lengths_differ
from edgeglass_diag.rules.patience import patience
from edgeglass_diag.rules.series import Series
from edgeglass_diag.rules.training_state import at_chance
from edgeglass_diag.signals.embeddings import (
    EMBEDDING_COLUMN_ERROR,
    EMBEDDING_NORM,
    EMBEDDING_NORM_SPREAD,
    EMBEDDING_SCALE,
)
from edgeglass_diag.sites import EmbeddingSite, PairSite


@dataclass(frozen=True)
class NormalisationMissing(Rule):
    """Embeddings are multiplied without being normalised, and the logits are out of hand.

    Why: a logit scale is made for cosines. With lengths in it the softmax is a hard choice from the start, or the
    lengths shrink as long as nothing is learned, until the softmax is even whatever the directions are.

    Formula: within a side the lengths differ by more than ``spread`` (std / mean), and logits are more than ``scale``
    times the cosines, in every recorded window over at least ``windows`` windows. Dot products of moderate size, as
    in dense retrieval, are silent; and larger ones, of what a LayerNorm gives out, where no scale is applied to them
    and the model learns, or has not yet had 20 steps to.

    Or logits are so small, as EG403 has it, because lengths that differ have shrunk to at most ``shrunk`` of what they
    made of the cosines at first, and the loss is at most a fifth below chance when the training ends, or when it has
    had the time to begin (``patience``).
    """

    spread: float = 0.01
    scale: float = 100.0
    shrunk: float = 0.5
    windows: int = 3

    code = "EG303"
    name = "normalisation-missing"
    title = "Embeddings not normalised"
    severity = Severity.WARNING
    page = "signal"
    signals = (EMBEDDING_SCALE, EMBEDDING_NORM_SPREAD, EMBEDDING_NORM)
    source = (
        "CLIP clamps its scale at 100 (https://arxiv.org/abs/2103.00020); OpenAI-CLIP #10, #16; shrunk by convention: "
        "the scale that EG403 asks of the logits, and half of what it was, as no noise of a batch makes it"
    )
    fix = "Normalise both sides: F.normalize(embedding, dim=-1) before the product."
    cures = (Intervention("loss.normalised"), Intervention("loss.temperature", 0.1))
    faulty = "logits = scale * image @ text.T"
    healthy = "logits = scale * normalize(image) @ normalize(text).T"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per pair of sides."""
        for pair, series in history.at(PairSite, EMBEDDING_SCALE):
            if self._has_shrunk(history, pair, series):
                yield self._small(history, pair, series)
            large = series.streak(lambda _, value: value > self.scale)
            if large is None or large.windows < self.windows or learns_by_products(history, pair):
                continue
            for side, spread in history.at(EmbeddingSite, EMBEDDING_NORM_SPREAD):
                if side.path not in pair.sides or min(spread.values[-self.windows :]) <= self.spread:
                    continue
                size = history.series(EMBEDDING_NORM, side.path)
                yield self.finding(
                    history,
                    f"lengths of {side.path} are {size.last:.3g} and differ by {spread.last:.0%}, so that logits are "
                    f"{series.last:.3g} x cosine, since step {large.since}",
                    site=side.module,
                    since=large.since,
                    evidence={"norm": size.last, "norm_spread": spread.last, "scale": series.last},
                )

    def _has_shrunk(self, history: History, pair: PairSite, series: Series) -> bool:
        small = history.rule(TemperatureMissing).bound(history, pair.path) is not None
        shrunk = small and series.last <= self.shrunk * series.first
        if not shrunk or not lengths_differ(history, pair.path, self.spread):
            return False
        return (history.ended or history.last_step >= patience(history)) and at_chance(history, tolerance=0.2)

    def _small(self, history: History, pair: PairSite, series: Series) -> Finding:
        side = pair.left
        size, spread = history.series(EMBEDDING_NORM, side), history.series(EMBEDDING_NORM_SPREAD, side)
        return self.finding(
            history,
            f"lengths of {side} are {size.last:.3g} and differ by {spread.last:.0%}; logits have shrunk from "
            f"{series.first:.3g} to {series.last:.3g} x cosine, and the softmax over them is nearly even",
            site=pair.path,
            evidence={"norm": size.last, "norm_spread": spread.last, "scale": series.last, "first": series.first},
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
    windows: int = 3

    code = "EG308"
    name = "normalised-across-batch"
    title = "Embeddings normalised over the batch"
    severity = Severity.WARNING
    page = "signal"
    signals = (EMBEDDING_COLUMN_ERROR, EMBEDDING_NORM_SPREAD)
    source = (
        "derived: F.normalize(x, dim=0) makes all columns 1 long; bfloat16 keeps 8 bits, 0.4 % at the length and at "
        "its entries"
    )
    fix = "Normalise along the last dimension: F.normalize(embedding, dim=-1)."
    faulty = "F.normalize(embedding, dim=0)"
    healthy = "F.normalize(embedding, dim=-1)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per side."""
        for side, columns in history.at(EmbeddingSite, EMBEDDING_COLUMN_ERROR):
            rows = history.series(EMBEDDING_NORM_SPREAD, side.path)
            unit = columns.streak(self._is_across(rows))
            if unit is not None and unit.windows == len(columns) >= self.windows:
                yield self.finding(
                    history,
                    f"every dimension of {side.path} has length 1 over the batch, while the lengths of the samples "
                    f"differ by {rows.last:.0%}",
                    site=side.module,
                    since=unit.since,
                    evidence={"column_error": columns.last, "norm_spread": rows.last},
                )

    def _is_across(self, rows: Series) -> Callable[[int, float], bool]:
        return lambda step, error: error <= self.unit and rows.at(step) > self.uneven
