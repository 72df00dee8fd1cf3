"""EG316: predictions of soft targets that know nothing of the sample."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.causality import DIVERGENCE, INPUTS, REACH, STEPS
from edgeglass_diag.rules.cures import EITHER_RATE
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.patience import patience
from edgeglass_diag.rules.training_state import MOVED
from edgeglass_diag.signals.embeddings import EMBEDDING_ASSIGNMENT, EMBEDDING_PREDICTED
from edgeglass_diag.sites import PairSite


@dataclass(frozen=True)
class TargetsNotPredicted(Rule):
    """A student predicts the targets of its teacher no better than one constant guess would.

    Why: the cross-entropy with soft targets falls and rises with the targets themselves, so that its value alone tells
    little. It lies between the entropy of the targets, where they are predicted, and that of their mean (ln K where
    they use all K prototypes evenly), where nothing of the sample is known.

    Formula: the level of a constant guess less the cross-entropy is at most ``tolerance`` of what the targets tell of
    the sample (the entropy of their mean less the mean of their entropies), in every recorded window over at least
    ``steps`` steps and ``windows`` windows, and the weights have moved by a fifth in all. Targets that tell less than
    ``nats``, as a penalty on confidence has them, are not judged (EG310 looks at those). Said when the training ends,
    or when it has had the time to begin (``patience``): the first steps of every student look like this. A fact (info)
    once the student has told ten times the tolerance for as long.
    """

    tolerance: float = 0.01
    nats: float = 0.005
    steps: int = 20
    windows: int = 4

    code = "EG316"
    name = "targets-not-predicted"
    title = "Student learns nothing of its soft targets"
    severity = Severity.WARNING
    page = "signal"
    signals = (EMBEDDING_PREDICTED, EMBEDDING_ASSIGNMENT)
    source = (
        "derived: the least cross-entropy of a constant is the entropy of the mean target; DINO, "
        "https://arxiv.org/abs/2104.14294, and SwAV, https://arxiv.org/abs/2006.09882 (a loss that stays at ln K)"
    )
    fix = (
        "Check that the student's steps are sane (learning rate, clipping, optimizer state), and that student and "
        "teacher see views of the same sample."
    )
    cures = EITHER_RATE
    faulty = "loss 4.16 with 64 prototypes in even use (ln 64 = 4.16) from step 100 to the end"
    healthy = "loss 3.76, where a constant guess has 4.16 and the targets' own entropy is 3.67"
    brought_by = ("EG310", "EG801", *INPUTS, *STEPS, *REACH, *DIVERGENCE, "EG410")

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for each pair of sides."""
        if not (history.ended or history.last_step >= patience(history)) or history.cumulated_update(0) < MOVED:
            return
        for pair, series in history.at(PairSite, EMBEDDING_PREDICTED):
            known = history.series(EMBEDDING_ASSIGNMENT, pair.right)
            state = series.streak(lambda step, value: self._is_constant(value, known.at(step)))  # noqa: B023
            if state is None or not state.lasting(steps=self.steps, windows=self.windows):
                continue
            yield self.finding(
                history,
                f"{pair.left} predicts the targets of {pair.right} no better than one constant guess since step "
                f"{state.since}: {series.last:+.2g} nats of the {known.last:.2g} that they tell of the sample",
                site=pair.path,
                since=state.since,
                evidence={"predicted": series.last, "targets": known.last, "windows": state.windows},
            )

    def passed_since(self, history: History, finding: Finding) -> int | None:
        """Return since when the student predicts some of what its targets tell."""
        pair = history.site(PairSite, finding.site)
        if pair is None:
            return None
        known = history.series(EMBEDDING_ASSIGNMENT, pair.right)
        state = history.series(EMBEDDING_PREDICTED, pair.path).streak(
            lambda step, value: value >= 10 * self.tolerance * known.at(step) > 0
        )
        lasts = state is not None and state.lasting(steps=self.steps, windows=self.windows)
        return state.since if state is not None and lasts else None

    def _is_constant(self, predicted: float, known: float) -> bool:
        return known >= self.nats and predicted <= self.tolerance * known
