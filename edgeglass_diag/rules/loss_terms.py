"""EG4xx: what goes into the loss function: batch, labels, distributions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import log

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History, Series
from edgeglass_diag.rules.training_state import is_paired, is_softmax


@dataclass(frozen=True)
class BatchOfOne(Rule):
    """A contrastive loss sees a single pair.

    Why: with nothing to contrast the loss is exactly 0 and so is its gradient. Accumulation adds no negatives.

    Formula: fewer than ``candidates`` candidates, on average, at a softmax, in every recorded window so far. A sigmoid
    of a single logit, as matching heads and discriminators have, costs ln 2 where it knows nothing and is silent.
    """

    candidates: float = 2

    code = "EG404"
    name = "batch-of-one"
    severity = Severity.CRITICAL
    source = "derived: ln 1 = 0; japanese-clip #3"
    fix = "Use a larger batch; accumulation adds no negatives."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per loss."""
        for site, series in history.of("loss/candidates"):
            if not is_softmax(history, site):
                continue
            few = history.streak(("EG404", self.candidates, site), series, lambda _, value: value < self.candidates)
            if few is not None and few.windows == len(series) >= 2:
                yield self.finding(
                    history,
                    f"{site} has {series.last:.3g} candidates to choose from: the loss is 0 whatever the model does",
                    site=site,
                    evidence={"candidates": series.last},
                )


@dataclass(frozen=True)
class DoubleSoftmax(Rule):
    """The loss takes a softmax of what is a softmax already.

    Why: probabilities lie within [0, 1], so that the second softmax is nearly uniform whatever the model says: at
    B = 128 the loss is confined to [3.865, 4.865].

    Formula: every row of a cross-entropy's input is non-negative and sums to 1, in every recorded window over at least
    ``windows`` windows. A log-softmax is left as it is by a second one and is silent.
    """

    windows: float = 2

    code = "EG405"
    name = "double-softmax"
    severity = Severity.CRITICAL
    source = "derived: ln(1 + (B-1)/e) to ln(e + B - 1); SciCo #2; UMLAUT checks the same"
    fix = "Give cross_entropy the logits themselves."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per loss."""
        for site, series in history.of("loss/is_probability"):
            state = history.streak(("EG405", site), series, lambda _, value: value == 1)
            candidates = history.series("loss/candidates", site)
            if state is not None and state.windows >= self.windows and candidates.last >= 2:
                yield self.finding(
                    history,
                    f"{site} is given probabilities: every row is non-negative and sums to 1",
                    site=site,
                    evidence={"since": state.since, "candidates": candidates.last},
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
    steps: float = 20
    windows: float = 4

    code = "EG406"
    name = "labels-off-diagonal"
    severity = Severity.CRITICAL
    source = "derived; lightly PR #1177 (labels offset by rank without a gather), CoCa-pytorch #20"
    fix = "Use labels = torch.arange(len(logits)); with gathered candidates add rank x batch."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per loss."""
        if not _two_sides(history):
            return
        for site, series in history.of("loss/labels_diagonal"):
            off = history.streak(("EG406", self.share, site), series, lambda _, value: value <= self.share)
            if off is None or off.windows < len(series):
                continue
            if not off.lasting(steps=int(self.steps), windows=int(self.windows)):
                continue
            accuracy, candidates = history.series("loss/accuracy", site), history.series("loss/candidates", site)
            if _mean(accuracy.values[-int(self.windows) :]) <= 3 / max(1.0, candidates.last):
                yield self.finding(
                    history,
                    f"{site}: only {series.last:.0%} of the labels point at the pair of their row",
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
    answer to which pairs belong together.
    """

    margin: float = 0.05
    windows: float = 3

    code = "EG410"
    name = "pairs-pushed-apart"
    severity = Severity.CRITICAL
    source = "derived: alignment E|x - y|^2 = 2 - 2 cos (Wang & Isola, https://arxiv.org/abs/2005.10242)"
    fix = "Look for a minus sign, or a distance, between the embeddings and the logits."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per pair of sides."""
        diagonal = dict(history.of("loss/labels_diagonal"))
        if diagonal and not is_paired(history):
            return
        answers = [
            (accuracy, history.series("loss/candidates", site))
            for site, accuracy in history.of("loss/accuracy")
            if not diagonal or site in diagonal
        ]
        if not any(_mean(a.values[-int(self.windows) :]) > 3 / max(1.0, c.last) for a, c in answers):
            return
        for pair, series in history.of("embedding/alignment"):
            if len(series) < self.windows:
                continue
            lacking = [self._lacking(history, pair, step, value) for step, value in _newest(series, int(self.windows))]
            if min(lacking) > self.margin:
                yield self.finding(
                    history,
                    f"{pair}: the cosine of the pairs lies {lacking[-1]:.2f} below that of strangers",
                    site=pair,
                    evidence={"below": lacking[-1], "alignment": series.last},
                )

    def _lacking(self, history: History, pair: str, step: int, alignment: float) -> float:
        signals = [history.series("embedding/sample_signal", side).at(step) for side in pair.split(" x ")]
        gap = history.series("embedding/gap", pair).at(step)
        strangers = (sum(1 - signal for signal in signals) - gap**2) / 2
        return strangers - (1 - alignment / 2)


@dataclass(frozen=True)
class SigmoidAveraged(Rule):
    """A sigmoid loss over all pairs is divided by their number instead of the batch.

    Why: its gradient is B times smaller than the published recipe's; with SGD, or a clipped or floored gradient, it
    moves nothing. Adam hides it until eps.

    Formula: of a sigmoid loss over a square of pairs, whose rows have in the mean between half a match and two, and of
    those with a single one at least half have it on the diagonal, the weight per row, read off its gradient, is at most
    ``excess`` / candidates in every one of the newest ``windows`` recorded windows, where the published one is 1. A
    mean over the labels of a tagging head is silent.
    """

    excess: float = 2.0
    windows: float = 3

    code = "EG411"
    name = "sigmoid-averaged"
    severity = Severity.WARNING
    source = "SigLIP sums over the pairs and divides by B (https://arxiv.org/abs/2303.15343); big_vision #115"
    fix = "Sum over all pairs and divide by the batch size."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per loss."""
        for site, series in history.of("loss/weight"):
            known = history.sites.get((site, "loss"))
            candidates = history.series("loss/candidates", site)
            if known is None or known.label != "sigmoid" or not len(candidates) or candidates.last < 8:
                continue
            if not self._are_pairs(history, site):
                continue
            recent = series.values[-int(self.windows) :]
            if len(recent) >= self.windows and 0 < max(recent) <= self.excess / candidates.last:
                yield self.finding(
                    history,
                    f"{site}: weight {series.last:.2e} per row, about 1 / {candidates.last:.0f} of the published",
                    site=site,
                    evidence={"weight": series.last, "candidates": candidates.last},
                )

    def _are_pairs(self, history: History, site: str) -> bool:
        newest = slice(-int(self.windows), None)
        diagonal = history.series("loss/labels_diagonal", site).values
        matches = history.series("loss/target_entropy", site).values[newest]  # ln of their mean number in a row
        paired = len(diagonal) >= self.windows and all(share >= 0.5 for share in diagonal[newest])
        return paired and all(abs(entropy) <= log(2) for entropy in matches)


@dataclass(frozen=True)
class NothingPushedApart(Rule):
    """The labels of a sigmoid loss are +1 and 0: no combination is told to be a stranger.

    Why: -log sigmoid(label x logit) of a label 0 is ln 2 whatever the logit is. Only pairs are pulled together, and to
    make everything alike is the shortest way down.

    Formula: at the only sigmoid loss, which explains the whole loss, at least ``share`` of label x logit is exactly 0
    and none has the sign opposite to its logit, in every recorded window over at least ``windows`` windows. Zeros
    beside labels of -1, which take copies or easy strangers out of the loss, are silent.
    """

    share: float = 0.5
    windows: float = 3

    code = "EG413"
    name = "nothing-pushed-apart"
    severity = Severity.CRITICAL
    source = "SigLIP's labels are 2 I - 1 (https://arxiv.org/abs/2303.15343); derived: the slope of a constant is 0"
    fix = "Use labels = 2 * torch.eye(B) - 1, or binary_cross_entropy_with_logits with targets of 0 and 1."

    def check(self, history: History) -> Iterable[Finding]:
        """At most one finding."""
        sigmoid = [path for (path, kind), site in history.sites.items() if kind == "loss" and site.label == "sigmoid"]
        explained = history.relative_loss.steps[-1:] == history.series("loss/total").steps[-1:]
        if len(sigmoid) != 1 or not explained:
            return  # another term may push apart
        zero, negative = (history.series(f"loss/labels_{kind}", sigmoid[0]) for kind in ("zero", "negative"))
        none = history.streak(("EG413",), negative, lambda step, value: value == 0 and zero.at(step) >= self.share)
        if none is not None and none.windows == len(negative) >= self.windows:
            yield self.finding(
                history,
                f"{sigmoid[0]}: {zero.last:.0%} of the combinations have the label 0 and none has -1",
                site=sigmoid[0],
                evidence={"zero": zero.last, "since": none.since},
            )


@dataclass(frozen=True)
class TargetsWithGradient(Rule):
    """The targets of the loss are the model's own and are trained as well.

    Why: targets made of the model's similarities move towards what is predicted, and to make both the same for all
    samples is the shortest way.

    Formula: the target of a cross-entropy asks for a gradient, in at least ``windows`` recorded windows.
    """

    windows: float = 2

    code = "EG412"
    name = "targets-with-gradient"
    severity = Severity.WARNING
    source = "derived: the gradient by the target is -log p, towards what is likely already; OpenAI-CLIP #24, #27"
    fix = "Detach the targets, and give their softmax a temperature of its own."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per loss."""
        for site, series in history.of("loss/target_gradient"):
            if sum(value == 1 for value in series.values[-int(self.windows) :]) >= self.windows:
                yield self.finding(
                    history, f"{site}: the targets are trained as well", site=site, evidence={"windows": len(series)}
                )


def _two_sides(history: History) -> bool:
    """Whether the embeddings that the loss compares come from two different modules."""
    for pair, _ in history.of("embedding/scale"):
        left, right = (side.rsplit("[", 1)[0] for side in pair.split(" x "))
        if {left, right} != {"left", "right"} and left != right:
            return True
    return False


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _newest(series: Series, count: int) -> list[tuple[int, float]]:
    return list(zip(series.steps[-count:], series.values[-count:], strict=True))
