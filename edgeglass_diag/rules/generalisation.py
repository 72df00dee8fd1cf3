"""EG614 and EG615: what was learned in training is not there in evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from statistics import fmean

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.training_state import MOVED, learned_little
from edgeglass_diag.signals.evaluation import (
    EVALUATION_ACCURACY,
    EVALUATION_CHANCE,
    EVALUATION_RECALL,
    EVALUATION_RECALL_CHANCE,
    EVALUATION_RECALL_HIGH,
    EVALUATION_RECALL_LOW,
    EVALUATION_RECALL_ROWS,
)
from edgeglass_diag.signals.losses import LOSS_ACCURACY, LOSS_CANDIDATES, LOSS_LEVEL


@dataclass(frozen=True)
class LearnedByHeart(Rule):
    """Samples of training are answered, and held-out ones are hardly answered better than by guessing.

    Why: with few samples, or labels and partners that belong to others, a model learns each sample by heart. Its loss
    falls as it should, and nothing of it holds elsewhere.

    Formula: the same loss has in training, over the last ``windows`` recorded windows, an accuracy of at least
    ``accuracy``, and in evaluation one that is at most ``share`` of the way from guessing to there, both among as many
    candidates (chance levels within ``alike`` of each other); in the newest two evaluations, or in the newest one of a
    training that has ended.
    """

    accuracy: float = 0.8
    share: float = 0.5
    windows: int = 4
    alike: float = 0.1

    code = "EG614"
    name = "learned-by-heart"
    title = "Learned by heart"
    severity = Severity.WARNING
    page = "retrieval"
    signals = (LOSS_ACCURACY, EVALUATION_ACCURACY)
    source = (
        "Understanding deep learning requires rethinking generalization, https://arxiv.org/abs/1611.03530: nets fit "
        "random labels, so that only held-out samples tell; half of the way is derived: more of what training knows is "
        "of its samples than of the task"
    )
    fix = (
        "Take more, and more different, samples, or augment them; look at whether labels and partners belong to their "
        "samples; stop where the evaluation was best."
    )
    faulty = "accuracy 1.00 in training, 0.33 in evaluation, 72 classes"
    healthy = "accuracy 1.00 in training, 0.83 in evaluation"
    brought_by = ("EG613", "EG612", "EG605", "EG223", "EG510", "EG511", "EG607")

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per loss."""
        for path, held_out in history.of(EVALUATION_ACCURACY):
            trained = [
                value for value in history.series(LOSS_ACCURACY, path).values[-self.windows :] if isfinite(value)
            ]
            candidates, level = history.series(LOSS_CANDIDATES, path), history.series(LOSS_LEVEL, path)
            chance = history.series(EVALUATION_CHANCE, path)
            newest = held_out.values[-2:]
            if len(trained) < self.windows or not len(candidates) or not len(level) or not len(chance):
                continue
            if fmean(trained) < self.accuracy or abs(chance.last / level.last - 1) > self.alike:
                continue
            guess = 1 / candidates.last
            enough = guess + self.share * (fmean(trained) - guess)
            if all(value <= enough for value in newest) and (len(newest) > 1 or history.ended):
                yield self.finding(
                    history,
                    f"{fmean(trained):.0%} of the answers are right in training, {held_out.last:.0%} in evaluation, "
                    f"{guess:.1%} by guessing",
                    site=path,
                    evidence={"training": fmean(trained), "evaluation": held_out.last, "guessing": guess},
                )


@dataclass(frozen=True)
class RetrievalEndsAtChance(Rule):
    """At the end of the training retrieval in evaluations is that of a random ranking, and the loss has hardly fallen.

    Why: the loss is a means; whether partners find each other is what was asked for.

    Formula: the training has ended after at least ``steps`` steps that moved the median weight matrix by a fifth, the
    loss has come down by less than half, and in each direction chance lies within the 95 % interval of R@1, over at
    least ``rows`` rows, in the newest two evaluations.
    """

    steps: int = 100
    rows: int = 32

    code = "EG615"
    name = "retrieval-ends-at-chance"
    title = "Retrieval ends at chance"
    severity = Severity.WARNING
    page = "retrieval"
    signals = (EVALUATION_RECALL, EVALUATION_RECALL_LOW, EVALUATION_RECALL_HIGH, EVALUATION_RECALL_CHANCE)
    source = "derived: R@1 of a random ranking is one over the candidates; interval of Wilson (1927)"
    fix = "Look at whether partners belong together as the model gets them, then at the learning rate and the loss."
    faulty = "R@1 0.005 of 192 rows at the end"
    healthy = "R@1 0.45 of 192 rows at the end"
    brought_by = (
        "EG401", "EG503", "EG301", "EG302", "EG307", "EG309", "EG318", "EG321", "EG411", "EG206", "EG218", "EG205",
        "EG520", "EG512", "EG405",
    )  # fmt: skip

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        if not history.ended or history.last_step < self.steps or history.cumulated_update(0) < MOVED:
            return
        recalls = [(path, series) for path, series in history.of(EVALUATION_RECALL) if len(series) > 1]
        if not recalls or not learned_little(history, 0.5):
            return
        if not all(self._is_guessing(history, path, series.steps[-2:]) for path, series in recalls):
            return
        path, recall = recalls[0]
        rows = history.series(EVALUATION_RECALL_ROWS, path).last
        yield self.finding(
            history,
            f"R@1 is {recall.last:.3g} over {rows:.0f} rows, where guessing has "
            f"{history.series(EVALUATION_RECALL_CHANCE, path).last:.3g}, and the loss has hardly fallen",
            site=path,
            evidence={"R@1": recall.last, "rows": rows},
        )

    def _is_guessing(self, history: History, path: str, steps: Iterable[int]) -> bool:
        signals = (EVALUATION_RECALL_LOW, EVALUATION_RECALL_CHANCE, EVALUATION_RECALL_HIGH)
        low, chance, high = (history.series(signal, path) for signal in signals)
        rows = history.series(EVALUATION_RECALL_ROWS, path)
        return all(rows.at(step) >= self.rows and low.at(step) <= chance.at(step) <= high.at(step) for step in steps)
