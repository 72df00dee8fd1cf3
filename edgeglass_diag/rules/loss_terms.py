"""EG4xx: what goes into the loss function: batch, labels, distributions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.tasks import task_of
from edgeglass_diag.rules.training_state import is_paired, is_softmax
from edgeglass_diag.signals.embeddings import (
    EMBEDDING_ALIGNMENT,
    EMBEDDING_GAP,
    EMBEDDING_SAMPLE_SIGNAL,
    EMBEDDING_SCALE,
)
from edgeglass_diag.signals.losses import (
    LOSS_ACCURACY,
    LOSS_CANDIDATES,
    LOSS_EXCESS_MASS,
    LOSS_IS_PROBABILITY,
    LOSS_LABELS_DIAGONAL,
    LOSS_TARGET_GRADIENT,
)
from edgeglass_diag.signals.pairings import PAIRING_DISTANCE
from edgeglass_diag.sites import EmbeddingSite, ModuleSite, PairSite, Task


@dataclass(frozen=True)
class BatchOfOne(Rule):
    """A softmax has a single candidate: a contrastive loss sees one pair, or a classifier has one output.

    Why: with nothing to choose from the loss is exactly 0 and so is its gradient. Accumulation adds no negatives.

    Formula: fewer than ``candidates`` candidates, on average, at a softmax, in every recorded window so far. A sigmoid
    of a single logit, as matching heads and discriminators have, costs ln 2 where it knows nothing and is silent.
    """

    candidates: int = 2

    code = "EG404"
    name = "batch-of-one"
    title = "Softmax over a single candidate"
    severity = Severity.CRITICAL
    page = "overview"
    signals = (LOSS_CANDIDATES,)
    source = "derived: ln 1 = 0; japanese-clip #3"
    fix = "Use a larger batch; accumulation adds no negatives."
    faulty = "DataLoader(pairs, batch_size=1), 128 accumulated"
    healthy = "DataLoader(pairs, batch_size=128)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per loss."""
        for site, series in history.of(LOSS_CANDIDATES):
            if not is_softmax(history, site):
                continue
            few = series.streak(lambda _, value: value < self.candidates)
            if few is not None and few.windows == len(series) >= 2:
                yield self.finding(
                    history,
                    f"{site} has {series.last:.3g} candidates to choose from, so that the loss is always 0",
                    site=site,
                    evidence={"candidates": series.last},
                    fix=_ONE_OUTPUT if task_of(history, site) in (Task.CLASSIFICATION, Task.GENERATION) else "",
                )


_ONE_OUTPUT = (
    "Give a single output to binary_cross_entropy_with_logits, or the head as many outputs as there are classes."
)


@dataclass(frozen=True)
class DoubleSoftmax(Rule):
    """The loss takes a softmax of what is a softmax already.

    Why: probabilities lie within [0, 1], so that the second softmax is nearly uniform whatever the model says: at
    B = 128 the loss is confined to [3.865, 4.865].

    Formula: every row of a cross-entropy's input is non-negative and sums to 1, in every recorded window over at least
    ``windows`` windows. A log-softmax is left as it is by a second one and is silent. A warning while the model learns
    all the same, and a fact (info) once nearly all answers are right.
    """

    windows: int = 2

    code = "EG405"
    name = "double-softmax"
    title = "Softmax taken twice"
    severity = Severity.CRITICAL
    page = "overview"
    signals = (LOSS_IS_PROBABILITY,)
    source = "derived: ln(1 + (B-1)/e) to ln(e + B - 1); SciCo #2; UMLAUT checks the same"
    fix = "Give cross_entropy the logits themselves."
    cures = (Intervention("loss.no_softmax"),)
    hinders_learning = True
    faulty = "cross_entropy(logits.softmax(-1), labels)"
    healthy = "cross_entropy(logits, labels)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per loss."""
        for site, series in history.of(LOSS_IS_PROBABILITY):
            excess = history.series(LOSS_EXCESS_MASS, site)
            if len(excess) and excess.last > 0.1:
                continue  # nll_loss takes no softmax of them
            state = series.streak(lambda _, value: value == 1)
            candidates = history.series(LOSS_CANDIDATES, site)
            if state is not None and state.windows >= self.windows and candidates.last >= 2:
                yield self.finding(
                    history,
                    f"{site} gets probabilities: every row is non-negative and sums to 1, since step {state.since}",
                    site=site,
                    since=state.since,
                    evidence={"candidates": candidates.last},
                )


@dataclass(frozen=True)
class LabelsOffDiagonal(Rule):
    """The labels of a contrastive loss do not point at the pairs.

    Why: row i of the logits of B pairs has its pair in column i. Other labels teach the model to match each image with
    the text of another.

    Formula: the logits are a square product of the embeddings of two different sides, and at most ``share`` of the
    labels is on the diagonal, in every recorded window over at least ``steps`` steps and ``windows`` windows, while the
    in-batch accuracy is no higher than three times chance. Two views of one encoder (SimCLR) have their labels
    elsewhere and are silent, and so is whatever learns: candidates that were shuffled, or as many classes as samples.
    """

    share: float = 0.5
    steps: int = 20
    windows: int = 4

    code = "EG406"
    name = "labels-off-diagonal"
    title = "Labels do not point at the pairs"
    severity = Severity.CRITICAL
    page = "overview"
    signals = (LOSS_LABELS_DIAGONAL, LOSS_ACCURACY)
    source = "derived; lightly PR #1177 (labels offset by rank without a gather), CoCa-pytorch #20"
    fix = "Use labels = torch.arange(len(logits)); with gathered candidates add rank x batch."
    cures = (Intervention("loss.diagonal_labels"),)
    refuted_by_learning = True
    faulty = "labels = torch.arange(B) + rank * B  # without a gather"
    healthy = "labels = torch.arange(B)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per loss."""
        if not _two_sides(history):
            return
        for site, series in history.of(LOSS_LABELS_DIAGONAL):
            off = series.streak(lambda _, value: value <= self.share)
            if off is None or off.windows < len(series):
                continue
            if not off.lasting(steps=self.steps, windows=self.windows):
                continue
            accuracy, candidates = history.series(LOSS_ACCURACY, site), history.series(LOSS_CANDIDATES, site)
            if _mean(accuracy.values[-self.windows :]) <= 3 / max(1.0, candidates.last):
                yield self.finding(
                    history,
                    f"only {series.last:.0%} of the labels of {site} are on the diagonal",
                    site=site,
                    evidence={"diagonal": series.last, "accuracy": accuracy.last},
                )


@dataclass(frozen=True)
class PairsPushedApart(Rule):
    """Pairs are less alike than strangers, and the loss rewards it.

    Why: a distance was taken for a similarity, or a sign is wrong; the training loss falls and retrieval gets worse.

    Formula: the mean cosine of the pairs lies more than ``margin`` below the mean cosine of all image-text
    combinations, 1 - alignment / 2 against (|m|^2 + |n|^2 - gap^2) / 2 with the means m and n of the sides, while the
    in-batch accuracy is above three times chance, in at least ``windows`` recorded windows in a row. Pairs are rows
    that the labels of a loss make pairs: classes in the place of texts are none, and what a captioner gets right is no
    answer to which pairs belong together. Where the logits are distances, the directions of labelled pairs are then
    ``apart`` times as far from each other (squared) as those of strangers.
    """

    margin: float = 0.05
    apart: float = 1.1
    windows: int = 3

    code = "EG410"
    name = "pairs-pushed-apart"
    title = "Matching pairs pushed apart"
    severity = Severity.CRITICAL
    page = "overview"
    signals = (EMBEDDING_ALIGNMENT, EMBEDDING_GAP, LOSS_ACCURACY, PAIRING_DISTANCE)
    source = (
        "derived: alignment E|x - y|^2 = 2 - 2 cos (Wang & Isola, https://arxiv.org/abs/2005.10242); a tenth above "
        "strangers is beyond noise, as for EG418"
    )
    fix = "Look for a minus sign, or a distance, between the embeddings and the logits."
    faulty = "logits = -scale * image @ text.T"
    healthy = "logits = -scale * cdist(image, text)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per pair of sides."""
        diagonal = dict(history.of(LOSS_LABELS_DIAGONAL))
        if diagonal and not is_paired(history):
            return
        answers = [
            (accuracy, history.series(LOSS_CANDIDATES, site))
            for site, accuracy in history.of(LOSS_ACCURACY)
            if not diagonal or site in diagonal
        ]
        if not any(_mean(a.values[-self.windows :]) > 3 / max(1.0, c.last) for a, c in answers):
            return
        for pair, series in history.at(PairSite, EMBEDDING_ALIGNMENT):
            if len(series) < self.windows:
                continue
            lacking = [self._lacking(history, pair, step, value) for step, value in series.newest(self.windows)]
            if min(lacking) > self.margin:
                yield self.finding(
                    history,
                    f"the cosine of pairs lies {lacking[-1]:.2f} below that of strangers at {pair.path}",
                    site=pair.path,
                    evidence={"below": lacking[-1], "alignment": series.last},
                )
        yield from self._distances(history)

    def _distances(self, history: History) -> Iterable[Finding]:
        measured = {pair for pair, _ in history.of(EMBEDDING_ALIGNMENT)}
        for pair, series in history.of(PAIRING_DISTANCE):
            newest = series.values[-self.windows :]
            if pair not in measured and len(newest) == self.windows and all(value >= self.apart for value in newest):
                yield self.finding(
                    history,
                    f"labelled pairs are {series.last:.2f} times as far apart (squared) as strangers at {pair}",
                    site=pair,
                    evidence={"labelled_over_strangers": series.last},
                )

    def _lacking(self, history: History, pair: PairSite, step: int, alignment: float) -> float:
        signals = [history.series(EMBEDDING_SAMPLE_SIGNAL, side).at(step) for side in pair.sides]
        gap = history.series(EMBEDDING_GAP, pair.path).at(step)
        strangers = (sum(1 - signal for signal in signals) - gap**2) / 2
        return strangers - (1 - alignment / 2)


@dataclass(frozen=True)
class TargetsWithGradient(Rule):
    """The targets of the loss are the model's own and are trained as well.

    Why: targets made of the model's similarities move towards what is predicted, and to make both the same for all
    samples is the shortest way.

    Formula: the target of a cross-entropy asks for a gradient, in at least ``windows`` recorded windows.
    """

    windows: int = 2

    code = "EG412"
    name = "targets-with-gradient"
    title = "Gradient flows into the targets"
    severity = Severity.WARNING
    page = "overview"
    signals = (LOSS_TARGET_GRADIENT,)
    source = "derived: the gradient by the target is -log p, towards what is likely already; OpenAI-CLIP #24, #27"
    fix = "Detach the targets, and give their softmax a temperature of its own."
    faulty = "cross_entropy(logits, ((tt + ii) / 2).softmax(-1))"
    healthy = "... .softmax(-1).detach())"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per loss."""
        for site, series in history.of(LOSS_TARGET_GRADIENT):
            if sum(value == 1 for value in series.values[-self.windows :]) >= self.windows:
                yield self.finding(
                    history, f"those of {site} are trained as well", site=site, evidence={"windows": len(series)}
                )


def _two_sides(history: History) -> bool:
    """Return whether the embeddings that the loss compares come from two different modules."""
    for pair, _ in history.at(PairSite, EMBEDDING_SCALE):
        sides = [side for path in pair.sides if (side := history.site(EmbeddingSite, path)) is not None]
        modules = {side.module for side in sides}
        if len(modules) == 2 and any(history.site(ModuleSite, module) is not None for module in modules):
            return True
    return False


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
