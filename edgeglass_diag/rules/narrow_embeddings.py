"""EG322: embeddings too narrow for the number of candidates."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.measures.chance import contrastive_floor
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.embeddings import widest_embeddings
from edgeglass_diag.rules.floors import contrast, narrow_floor
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.loss import lengths_differ
from edgeglass_diag.signals.embeddings import EMBEDDING_SCALE
from edgeglass_diag.signals.losses import LOSS_CANDIDATES
from edgeglass_diag.sites import EmbeddingSite, PairSite


@dataclass(frozen=True)
class EmbeddingsTooNarrow(Rule):
    """The embeddings have so few dimensions that their candidates have no room to lie apart.

    Why: on a circle 64 candidates lie 6 degrees apart, at cosines of 0.995. However a model places them, its softmax
    cannot choose among neighbours, and the loss has a floor that no training lowers. A wrong width of the head, or a
    slice of the wrong axis, looks like a model that learns slowly.

    Formula: the least loss of B unit embeddings of d dimensions at scale s, ln B + ln M - s with M the mean of
    exp(s cos) over the sphere, 0F1(d/2, s^2/4), is at least ``share`` of ln B in every recorded window over at least
    ``steps`` steps and ``windows`` windows, and at least twice what the scale alone leaves (which is EG403's). Of
    nested prefixes the widest is judged. Silent where lengths differ within a side by more than ``spread`` (std /
    mean), by which candidates on one ray are told apart; a fact (info) once nearly all answers are right.
    """

    share: float = 0.2
    steps: int = 20
    windows: int = 4
    spread: float = 0.01

    code = "EG322"
    name = "embeddings-too-narrow"
    title = "Embeddings have too few dimensions"
    severity = Severity.WARNING
    page = "embeddings"
    signals = (EMBEDDING_SCALE, LOSS_CANDIDATES)
    source = (
        "derived: matched and uniform on the sphere is the least of a contrast, Wang & Isola, Theorem 1, "
        "https://arxiv.org/abs/2005.10242; a fifth of ln B is far beyond the noise of a batch"
    )
    fix = "Widen the projection (CLIP has 512 dimensions), and check which axis is sliced or pooled before the product."
    hinders_learning = True
    faulty = "nn.Linear(512, 2) before the logits of 64 pairs"
    healthy = "nn.Linear(512, 64) before the logits of 64 pairs"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per pair of sides."""
        known = contrast(history)
        batch, chance = known.candidates, known.chance if known.candidates > 1 else 0.0
        if batch < 2 or known.sigmoid:
            return
        whole = {site.path for site in widest_embeddings(history).values()}
        for pair, scales in history.at(PairSite, EMBEDDING_SCALE):
            sides = [history.site(EmbeddingSite, path) for path in pair.sides if path in whole]
            width = min((side.width for side in sides if side is not None), default=0)
            if not width or lengths_differ(history, pair.path, self.spread):
                continue
            level = self.share * chance
            low = scales.streak(lambda _, scale: _narrowed(scale, batch, width) >= level)  # noqa: B023
            if low is None or not low.lasting(steps=self.steps, windows=self.windows):
                continue
            floor = narrow_floor(scales.last, batch, width)
            yield self.finding(
                history,
                f"{width}, in which {batch} candidates lie so close that no model gets below a loss of {floor:.3f} at "
                f"a logit scale of {scales.last:.3g} (chance is {chance:.3f}), since step {low.since}",
                site=pair.path,
                since=low.since,
                evidence={"width": width, "floor": floor, "chance": chance, "scale": scales.last},
            )


def _narrowed(scale: float, batch: int, width: int) -> float:
    """Return the floor where the width makes it rather than the scale, else 0."""
    if not 0 < scale < math.inf:
        return 0.0
    floor = narrow_floor(scale, batch, width)
    return floor if floor >= 2 * contrastive_floor(scale, batch) else 0.0
