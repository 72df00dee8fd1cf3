"""EG304 and EG307: outputs that lie apart, or in one place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.compared import Compared
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.causality import INPUTS
from edgeglass_diag.rules.cures import SLOWER
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.remedies import output_remedy
from edgeglass_diag.rules.training_state import MOVED
from edgeglass_diag.signals.activations import ACTIVATION_SAMPLE_SIGNAL
from edgeglass_diag.signals.embeddings import EMBEDDING_GAP, EMBEDDING_SAMPLE_SIGNAL
from edgeglass_diag.sites import EmbeddingSite, ModuleSite


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
    title = "Large modality gap"
    severity = Severity.INFO
    page = "signal"
    signals = (EMBEDDING_GAP,)
    source = "Mind the Gap, https://arxiv.org/abs/2203.02053: CLIP's own is 0.82"
    fix = "Nothing, where recall is good; otherwise a larger scale at the start makes the gap larger."
    faulty = "means 1.2 apart"
    healthy = "means 0.8 apart, as in CLIP"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per pair of sides."""
        if history.cumulated_update(0) < MOVED:
            return
        for pair, series in history.of(EMBEDDING_GAP):
            if series.last > self.gap:
                yield self.finding(
                    history,
                    f"the means of {pair} are {series.last:.2f} apart",
                    site=pair,
                    evidence={"gap": series.last},
                )


@dataclass(frozen=True)
class OutputConstant(Rule):
    """What the model gives out no longer depends on the sample.

    Why: an objective that rewards likeness alone, as a cosine of pairs without negatives, is met by a constant. A
    classifier that has lost its input gives the frequencies of the classes, a regression the mean of its targets.

    Formula: sample signal of a module whose output goes into no other module fell below ``signal`` and to a hundredth
    of its first value, over at least ``steps`` steps and ``windows`` windows. Where products of embeddings
    are the logits of the loss, EG301 asks the finer question instead.
    """

    signal: float = 1e-3
    steps: int = 10
    windows: int = 4

    code = "EG307"
    name = "output-constant"
    title = "Output no longer depends on the input"
    severity = Severity.CRITICAL
    page = "signal"
    signals = (ACTIVATION_SAMPLE_SIGNAL,)
    source = "derived: at 1e-3 the angle between two outputs is about 2 degrees; sentence-transformers #3469"
    fix = "Add negatives: in-batch cross-entropy, a margin, or a variance term."
    cures = SLOWER
    refuted_by_learning = True
    faulty = "loss = (1 - cosine_similarity(image, text)).mean()"
    healthy = "loss = cross_entropy(logits, labels)"
    brought_by = ("EG801", *INPUTS, "EG309", "EG310", "EG202")

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding, at the first such module."""
        embeddings = [site for site, _ in history.at(EmbeddingSite, EMBEDDING_SAMPLE_SIGNAL)]
        if any(site.compared is Compared.LOGITS for site in embeddings) or not history.last_step >= self.steps:
            return
        fed = {parent for site in history.sites_of(ModuleSite) for parent in site.parents}
        for site, series in history.of(ACTIVATION_SAMPLE_SIGNAL):
            if site in fed or series.first < 100 * series.last:
                continue
            low = series.streak(lambda _, value: value <= self.signal)
            if low is not None and low.lasting(steps=self.steps, windows=self.windows):
                yield self.finding(
                    history,
                    f"{site or 'the model'} has a sample signal of {series.last:.2g} since step {low.since}, at first "
                    f"{series.first:.2g}",
                    site=site,
                    since=low.since,
                    evidence={"sample_signal": series.last, "first": series.first},
                    fix=output_remedy(history),
                )
                return
