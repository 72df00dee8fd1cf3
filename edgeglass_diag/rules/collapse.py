"""EG309 and EG310: embeddings that a loss compares other than by logits, and that have collapsed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edgeglass_diag.compared import Compared
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.causality import INPUTS
from edgeglass_diag.rules.cures import SLOWER
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.series import Series, Streak
from edgeglass_diag.rules.training_state import MOVED, signal_growing
from edgeglass_diag.signals.embeddings import (
    EMBEDDING_ASSIGNMENT,
    EMBEDDING_DISTANCE,
    EMBEDDING_MARGIN,
    EMBEDDING_PROTOTYPES,
    EMBEDDING_SAMPLE_SIGNAL,
    EMBEDDING_SPREAD,
)
from edgeglass_diag.sites import EmbeddingSite, PairSite

_FIXES = {
    Compared.SIMILARITY: "Stop the gradient into the target branch (z.detach(), as SimSiam and BYOL do) and keep the "
    "predictor, or add negatives or a variance term.",
    Compared.DISTANCE: "Normalise the embeddings and begin with random or semi-hard negatives instead of the hardest; "
    "without negatives add a variance term (VICReg) or stop the gradient into the target branch.",
    Compared.FEATURES: "Standardise each dimension over the batch before they are correlated, and keep the term that "
    "holds their variance.",
}


@dataclass(frozen=True)
class ComparedEmbeddingsCollapsed(Rule):
    """The embeddings that the loss compares lie in one point, whatever the sample is.

    Why: an objective that only draws embeddings together, or that rests at its margin, is met by a constant. Its loss
    looks well or stands still, and nothing tells samples apart.

    Formula: of both sides, over at least ``steps`` steps and ``windows`` windows. Where cosines are compared: the
    sample signal mean_b |u_b - mean|^2 of unit embeddings, which is d times the variance per dimension that SimSiam
    watches, is at most ``signal`` (strangers' mean cosine is 1 less that) and at most a tenth of its largest value, or
    the weights have moved by a fifth. Where distances are compared: the spread, their root mean square distance from
    their mean, is at most ``fall`` of its largest value; or at most ``fall`` of the margin, so that no triplet's loss
    differs from the margin by more than a fifth, and the weights have moved. Where partners' squared distance is at
    least ``apart`` of strangers', so that nothing was learned meanwhile, a spread of ``shrunk`` (a tenth of its energy)
    is a warning. Not where the signal grows just now; nor where partners' squared distance is at most ``near`` of
    strangers', half as far: what is small is not what is lost.
    """

    signal: float = 0.01
    fall: float = 0.1
    near: float = 0.25
    shrunk: float = 0.316
    apart: float = 0.9
    steps: int = 20
    windows: int = 3

    code = "EG309"
    name = "compared-embeddings-collapsed"
    title = "Embeddings collapsed to one point"
    severity = Severity.CRITICAL
    page = "signal"
    signals = (EMBEDDING_SAMPLE_SIGNAL, EMBEDDING_SPREAD, EMBEDDING_DISTANCE, EMBEDDING_MARGIN)
    source = (
        "Exploring Simple Siamese Representation Learning, https://arxiv.org/abs/2011.10566 (std of the normalised "
        "output: 1/sqrt(d), or 0 in a collapse); margin derived: |d_ap - d_an| <= the largest distance; "
        "pytorch-metric-learning #20, sentence-transformers #3469"
    )
    fix = "Give the loss something that keeps embeddings apart: a stop-gradient, negatives, or a variance term."
    cures = SLOWER
    faulty = "loss = (1 - cosine_similarity(z1, z2)).mean()"
    healthy = "loss = (1 - cosine_similarity(predictor(z1), z2.detach())).mean()"
    brought_by = ("EG801", *INPUTS, "EG313", "EG320", "EG314", "EG315", "EG002", "EG204", "EG202")

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for each pair of sides."""
        for pair, sides in compared(history):
            ratio = self._partners_over_strangers(history, pair)
            if ratio <= self.near:
                continue
            fall = self.shrunk if ratio >= self.apart else self.fall
            states = [self._collapsed(history, side, fall) for side in sides]
            if any(state is None for state in states):
                continue
            gone = all(self._collapsed(history, side, self.fall) is not None for side in sides)
            since = max(state.since for state in states if state is not None)
            widest = sides[0]
            signal = history.series(EMBEDDING_SAMPLE_SIGNAL, widest.path)
            spread = history.series(EMBEDDING_SPREAD, widest.path)
            margin = _last(history.series(EMBEDDING_MARGIN, widest.path))
            told = f"; the margin is {margin:.3g}" if math.isfinite(margin) else ""
            yield self.finding(
                history,
                f"{' and '.join(dict.fromkeys(side.module for side in sides))}: nearly the same for every sample "
                f"since step {since}: strangers' cosine {1 - signal.last:.4f}, spread {spread.last:.2g} (at most "
                f"{max(spread.values):.2g} before){told}",
                site=widest.module,
                since=since,
                severity=Severity.CRITICAL if gone else Severity.WARNING,
                evidence={
                    "sample_signal": signal.last, "largest_signal": max(signal.values), "spread": spread.last,
                    "largest_spread": max(spread.values), "margin": margin,
                    "partners_over_strangers": _last(history.series(EMBEDDING_DISTANCE, pair.path)),
                    "compared": widest.compared.value,
                },
                fix=_FIXES[widest.compared],
            )  # fmt: skip

    def _collapsed(self, history: History, side: EmbeddingSite, fall: float) -> Streak | None:
        """Return since when a side lies in one point, None where it does not; distances have shrunk to ``fall``."""
        signal = history.series(EMBEDDING_SAMPLE_SIGNAL, side.path)
        spread = history.series(EMBEDDING_SPREAD, side.path)
        if not len(signal) or signal_growing(signal):
            return None
        if side.compared is not Compared.DISTANCE:
            limit = min(self.signal, 0.1 * max(signal.values))
            fallen = self._lasting(signal, limit)
            always = self._lasting(signal, self.signal)
            moved = always is not None and history.cumulated_update(always.since) >= MOVED
            return fallen or (always if moved else None)
        margin = _last(history.series(EMBEDDING_MARGIN, side.path))
        fallen = self._lasting(spread, fall * max(spread.values))
        within = self._lasting(spread, self.fall * margin) if math.isfinite(margin) else None
        moved = within is not None and history.cumulated_update(within.since) >= MOVED
        return fallen or (within if moved else None)

    def _lasting(self, series: Series, limit: float) -> Streak | None:
        state = series.streak(lambda _, value: value <= limit)
        return state if state is not None and state.lasting(steps=self.steps, windows=self.windows) else None

    def _partners_over_strangers(self, history: History, pair: PairSite) -> float:
        """Return the newest ratio of squared distances, NaN where the loss compares all with all."""
        ratios = history.series(EMBEDDING_DISTANCE, pair.path).values[-self.windows :]
        return sum(ratios) / len(ratios) if ratios else math.nan


@dataclass(frozen=True)
class AssignmentsCollapsed(Rule):
    """All samples are assigned to prototypes alike: to one of them, or evenly to all.

    Why: student and teacher then agree whatever the sample is, and the loss tells nothing (0, or ln K).

    Formula: what an assignment tells of its sample, the entropy of the mean assignment less the mean of their
    entropies, is at most ``nats`` at both sides over at least ``steps`` steps and ``windows`` windows, and was ten
    times as much before or the weights have moved by a fifth; and it does not grow just now. A fact (info) once it has
    been ten times as much at both sides for as long.
    """

    nats: float = 0.005
    steps: int = 20
    windows: int = 4

    code = "EG310"
    name = "assignments-collapsed"
    title = "Assignments to prototypes collapsed"
    severity = Severity.CRITICAL
    page = "signal"
    signals = (EMBEDDING_ASSIGNMENT, EMBEDDING_PROTOTYPES)
    source = (
        "derived: mutual information of sample and prototype; DINO, https://arxiv.org/abs/2104.14294 (centring "
        "prevents one dominant prototype, sharpening the uniform one)"
    )
    fix = "Centre the teacher's outputs and keep its temperature below the student's (DINO), or balance them (SwAV)."
    cures = SLOWER[:2]
    faulty = "target = softmax(teacher / 0.04)"
    healthy = "target = softmax((teacher - center) / 0.04)"
    brought_by = ("EG801", *INPUTS, "EG002", "EG204", "EG202")

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for each pair of sides."""
        for pair in history.sites_of(PairSite):
            series = [history.series(EMBEDDING_ASSIGNMENT, side) for side in dict.fromkeys(pair.sides)]
            states = [self._collapsed(history, values) for values in series if len(values)]
            if not states or any(state is None for state in states):
                continue
            since = max(state.since for state in states if state is not None)
            used = _last(history.series(EMBEDDING_PROTOTYPES, pair.right))
            yield self.finding(
                history,
                f"what they tell of the sample is {series[-1].last:.2g} nats since step {since}, with {used:.3g} "
                "prototypes in use",
                site=pair.path,
                since=since,
                evidence={"nats": series[-1].last, "largest_before": max(series[-1].values), "prototypes": used},
                fix=self._fix(history, pair, used),
            )

    def passed_since(self, history: History, finding: Finding) -> int | None:
        """Return since when both sides tell of the sample."""
        pair = history.site(PairSite, finding.site)
        series = [history.series(EMBEDDING_ASSIGNMENT, side) for side in dict.fromkeys(pair.sides)] if pair else []
        states = [values.streak(lambda _, value: value >= 10 * self.nats) for values in series if len(values)]
        lasting = [one for one in states if one is not None and one.lasting(steps=self.steps, windows=self.windows)]
        return max(one.since for one in lasting) if states and len(lasting) == len(states) else None

    def _fix(self, history: History, pair: PairSite, used: float) -> str:
        """Return what to do against the one collapse or the other."""
        side = history.site(EmbeddingSite, pair.right)
        if side is None or used < side.width / 2:
            return self.fix
        return (
            "Lower the temperature of the targets (DINO: 0.04 to 0.07, below the student's 0.1); where it is that low, "
            "check that the two views of a sample still show the same thing."
        )

    def _collapsed(self, history: History, series: Series) -> Streak | None:
        state = series.streak(lambda _, value: value <= self.nats)
        if state is None or not state.lasting(steps=self.steps, windows=self.windows) or signal_growing(series):
            return None
        had = max(series.values) >= 10 * self.nats
        return state if had or history.cumulated_update(state.since) >= MOVED else None


def compared(history: History) -> Iterator[tuple[PairSite, list[EmbeddingSite]]]:
    """Yield the pairs of sides that a loss compares by cosines, distances or features, with their sites."""
    for pair in history.sites_of(PairSite):
        known = [history.site(EmbeddingSite, path) for path in dict.fromkeys(pair.sides)]
        sides = [side for side in known if side is not None]
        if sides and all(side.compared not in (Compared.LOGITS, Compared.ASSIGNMENT) for side in sides):
            yield pair, sides


def _last(series: Series) -> float:
    return series.last if len(series) else math.nan
