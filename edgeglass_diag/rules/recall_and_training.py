"""EG604 and EG607: recalls that contradict the accuracy of training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.recalls import WAYS
from edgeglass_diag.signals.losses import LOSS_ACCURACY, LOSS_CANDIDATES
from edgeglass_diag.signals.registry import metric


@dataclass(frozen=True)
class RecallBeyondTraining(Rule):
    """Retrieval succeeds where training cannot tell pairs apart.

    Why: to find a pair among N is harder than among the B of a batch. A strict comparison that lets ties count as hits,
    an evaluation of other embeddings, or pairs of training are at work.

    Formula: R@1 over N >= B pairs is at least ``recall``, while the in-batch accuracy in training, over the last
    ``windows`` recorded windows, is at most three times chance.
    """

    recall: float = 0.5
    windows: int = 4

    code = "EG604"
    name = "recall-beyond-training"
    title = "Recall better than training allows"
    severity = Severity.CRITICAL
    page = "retrieval"
    signals = (LOSS_ACCURACY,)
    source = "derived: P(right among B) >= P(right among N) for N >= B; CLIP4Clip #80 (strict > gives 100 % on ties)"
    fix = "Rank ties in the middle; check that the evaluation embeds what training trains."
    faulty = "rank = (scores > own).sum()  # all scores tie: R@1 = 1.0"
    healthy = "ties in the middle: R@1 = 1/N"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per direction."""
        trained = _training_accuracy(history, self.windows)
        size = history.series(metric("n"))
        if trained is None or not len(size) or size.last < trained[1] or trained[0] > 3 / trained[1]:
            return
        for way in WAYS:
            found = history.series(metric(f"{way}/R@1"))
            if len(found) and self.recall <= found.last <= 1:
                yield self.finding(
                    history,
                    f"{way} R@1 = {found.last:.3f} over {size.last:.0f} pairs, but in training only {trained[0]:.3f} "
                    f"are right among {trained[1]:.0f}",
                    site=way,
                    evidence={"R@1": found.last, "accuracy": trained[0], "candidates": trained[1]},
                )


@dataclass(frozen=True)
class RecallFarBelowTraining(Rule):
    """Training tells pairs apart, and retrieval finds none.

    Why: to be right among B at a rate of a is to be right among N at about a^((N-1)/(B-1)) at worst. Recall at chance
    then means that other pairs, other embeddings or another order are evaluated, or that train and test differ in
    kind (batch statistics, a mode, preprocessing).

    Formula: R@10 over N pairs is at most ``chance`` times 10 / N in the newest two evaluations, while the in-batch
    accuracy in training, over the last ``windows`` recorded windows, is at least ``accuracy``.
    """

    accuracy: float = 0.5
    chance: float = 2.0
    windows: int = 4

    code = "EG607"
    name = "recall-far-below-training"
    title = "Recall at chance although training succeeds"
    severity = Severity.CRITICAL
    page = "retrieval"
    signals = (LOSS_ACCURACY,)
    source = "derived: a pair of gallery rank r is right in a batch with probability (1-(r-1)/(N-1))^(B-1)"
    fix = "Check the order of both sides of the evaluation, its preprocessing, and the model's mode."
    faulty = "in-batch accuracy 0.9, R@10 = 0.004"
    healthy = "in-batch accuracy 0.9, R@10 = 0.7"
    brought_by = ("EG410", "EG406", "EG501")

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for both directions."""
        trained = _training_accuracy(history, self.windows)
        size = history.series(metric("n"))
        if trained is None or trained[0] < self.accuracy or not len(size) or size.last < 100:
            return
        low = [
            way
            for way in WAYS
            if len(series := history.series(metric(f"{way}/R@10"))) > 1
            and all(0 <= value <= self.chance * 10 / size.last for value in series.values[-2:])
        ]
        if low:
            found = history.series(metric(f"{low[0]}/R@10")).last
            yield self.finding(
                history,
                f"{' and '.join(low)} R@10 = {found:.3f} over {size.last:.0f} pairs, but in training {trained[0]:.0%} "
                f"are right among {trained[1]:.0f}",
                site=low[0],
                evidence={"R@10": found, "accuracy": trained[0], "n": size.last},
            )


def _training_accuracy(history: History, windows: int) -> tuple[float, float] | None:
    """Return the best mean in-batch accuracy over the losses' newest windows, and the number of candidates."""
    found = []
    for site, series in history.of(LOSS_ACCURACY):
        recent = [value for value in series.values[-windows:] if isfinite(value)]
        candidates = history.series(LOSS_CANDIDATES, site)
        if len(recent) >= windows and len(candidates) and candidates.last >= 8:
            found.append((sum(recent) / len(recent), candidates.last))
    return max(found, default=None)
