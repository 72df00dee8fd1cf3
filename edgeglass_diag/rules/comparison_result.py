"""EG321: a loss of cosines or distances by which nothing was learned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.causality import DIVERGENCE, INPUTS, OBJECTIVE, REACH, STEPS
from edgeglass_diag.rules.cures import EITHER_RATE
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.patience import patience
from edgeglass_diag.rules.training_state import MOVED, partners_compared
from edgeglass_diag.signals.embeddings import EMBEDDING_DISTANCE
from edgeglass_diag.signals.losses import LOSS_CHANCE


@dataclass(frozen=True)
class ComparisonLearnedNothing(Rule):
    """What the loss compares is as far apart as strangers, after a training that moved the weights.

    Why: two views of a sample, a student and its teacher, an output and its target: where they are no more alike than
    those of different samples, nothing of the sample is predicted. A cosine or a squared error has no known chance
    level that would show it.

    Formula: the squared distance of partners is in the median of the newest ``windows`` recorded windows at least
    ``apart`` of that of strangers, of all that the loss compares and that varies on both sides; no term has a chance
    level; the weights have moved by a fifth; and the training has ended or its patience is over. A calibrated
    prediction that explains R^2 of its target's variance lies at (1 - R^2) / (1 + R^2): 0.98 for a hundredth. One of
    its negative lies at the inverse and has learned as much: above ``opposite`` the rule is silent, and EG418 looks at
    what is driven apart.
    """

    apart: float = 0.98
    opposite: float = 1.1
    windows: int = 8

    code = "EG321"
    name = "comparison-learned-nothing"
    title = "Partners are as far apart as strangers"
    severity = Severity.WARNING
    page = "embeddings"
    signals = (EMBEDDING_DISTANCE,)
    source = (
        "derived: E|y - t|^2 = (1 - R^2) V and strangers' (1 + R^2) V for a calibrated y (law of total variance); "
        "a tenth above strangers is beyond noise, as for EG418"
    )
    fix = (
        "Look at some pairs as the loss gets them: do the two views, or input and target, belong together and still "
        "share anything (order, shuffling, strength of the augmentation)? Then at the learning rate."
    )
    cures = EITHER_RATE
    refuted_by_learning = True
    faulty = "mse_loss(model(x), y[torch.randperm(len(y))])"
    healthy = "mse_loss(model(x), y)"
    brought_by = ("EG309", "EG311", *INPUTS, "EG512", *OBJECTIVE, *DIVERGENCE, *STEPS, *REACH)

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        over = history.ended or history.last_step >= patience(history)
        if not over or history.has(LOSS_CHANCE) or history.cumulated_update(0) < MOVED:
            return
        ratios = {pair: series.values[-self.windows :] for pair, series in partners_compared(history)}
        if not ratios or not all(self._are_strangers(values) for values in ratios.values()):
            return
        nearest = min(ratios, key=lambda pair: median(ratios[pair]))
        moved = history.cumulated_update(0)
        yield self.finding(
            history,
            f"squared distance {median(ratios[nearest]):.3f} of that of strangers in {nearest}, although the weights "
            f"moved by {moved:.1f} of their norm",
            site=nearest,
            evidence={"partners_over_strangers": median(ratios[nearest]), "moved": moved},
        )

    def _are_strangers(self, ratios: Sequence[float]) -> bool:
        return len(ratios) == self.windows and self.apart <= median(ratios) <= self.opposite
