"""EG415 to EG417: terms of the loss with values that they cannot have, or that never change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.series import Series, Streak
from edgeglass_diag.signals.losses import LOSS_EXCESS_MASS, LOSS_PART, LOSS_TOTAL, LOSS_VALUE
from edgeglass_diag.sites import LossFunction, LossSite

_BELOW_ZERO = {
    LossFunction.CROSS_ENTROPY: "Give cross_entropy class indices, or probabilities that sum to 1, as targets.",
    LossFunction.NLL_LOSS: "Give nll_loss the output of log_softmax(dim=-1), or give the logits to cross_entropy.",
    LossFunction.KL_DIV: "Give kl_div log_softmax(student) first and softmax(teacher) second, or log_target=True.",
    LossFunction.BINARY_CROSS_ENTROPY: "Give binary_cross_entropy_with_logits targets between 0 and 1.",
}


@dataclass(frozen=True)
class NotLogProbabilities(Rule):
    """A loss that takes log-probabilities is given something else.

    Why: nll_loss and kl_div do not normalise. Given probabilities, or logits, they have no minimum where the model is
    right: raising all logits lowers them for ever.

    Formula: the mean |ln sum exp| of the rows is at least ``excess``, where log-probabilities have 0 and C logits of
    zeros ln C, in each of at least ``windows`` recorded windows.
    """

    excess: float = 0.1
    windows: int = 3

    code = "EG415"
    name = "not-log-probabilities"
    title = "Loss is not given log-probabilities"
    severity = Severity.CRITICAL
    page = "overview"
    signals = (LOSS_EXCESS_MASS, LOSS_VALUE)
    source = "derived: probabilities p of C classes have ln sum exp(p) > ln C; bfloat16 rounds by less than 0.01"
    fix = "Take log_softmax(dim=-1) of the logits before this loss."
    faulty = "nll_loss(logits.softmax(-1), labels)"
    healthy = "nll_loss(logits.log_softmax(-1), labels)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per loss."""
        for site, series in history.at(LossSite, LOSS_EXCESS_MASS):
            state = series.streak(lambda _, excess: excess >= self.excess)
            if state is not None and state.windows >= self.windows and len(history.series(LOSS_PART, site.path)):
                finding = self.finding(
                    history,
                    f"the rows that {site.path} takes have a ln sum exp of {series.last:.3g} in size, where "
                    f"log-probabilities have 0, since step {state.since}",
                    site=site.path,
                    since=state.since,
                    evidence={"excess": series.last},
                )
                yield replace(finding, fix=_BELOW_ZERO.get(site.function, self.fix))


@dataclass(frozen=True)
class NegativeTerm(Rule):
    """A term of the loss is below zero, which its function cannot be of what it should be given.

    Why: a cross-entropy and a divergence of distributions are never negative. One that is was given targets that are no
    probabilities, or inputs that are no log-probabilities, and falls without end.

    Formula: a value of at most -``below`` in each of the newest ``windows`` recorded windows. Rounding leaves less.
    """

    below: float = 1e-3
    windows: int = 2

    code = "EG416"
    name = "negative-term"
    title = "Loss term below zero"
    severity = Severity.CRITICAL
    page = "overview"
    signals = (LOSS_VALUE,)
    source = "derived: Gibbs' inequality; -ln p >= 0; float32 rounds a divergence by less than 1e-6 a row"
    fix = "Look at what this loss function is given: inputs and targets."
    faulty = "kl_div(student.softmax(-1), teacher.softmax(-1))"
    healthy = "kl_div(student.log_softmax(-1), teacher.softmax(-1))"
    brought_by = ("EG415",)

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per loss."""
        for site, series in history.at(LossSite, LOSS_VALUE):
            if site.function not in _BELOW_ZERO or not len(history.series(LOSS_PART, site.path)):
                continue
            state = series.streak(lambda _, value: value <= -self.below)
            if state is not None and state.windows >= self.windows:
                finding = self.finding(
                    history,
                    f"{site.path} is {series.last:.4g} since step {state.since}",
                    site=site.path,
                    since=state.since,
                    evidence={"value": series.last},
                )
                yield replace(finding, fix=_BELOW_ZERO[site.function])


@dataclass(frozen=True)
class ConstantTerm(Rule):
    """A term of the loss has had the same value since the first step, while the others move.

    Why: batches differ, and so does whatever is computed of them. A term that does not was computed of constants, of
    what is clamped, or of what a hinge has cut to nothing, and trains nothing.

    Formula: all values of the term are within ``tolerance`` (relative) of its first over at least ``steps`` steps and
    ``windows`` windows, and the whole loss is not.
    """

    tolerance: float = 1e-6
    steps: int = 20
    windows: int = 8

    code = "EG417"
    name = "constant-term"
    title = "Loss term never changes"
    severity = Severity.WARNING
    page = "overview"
    signals = (LOSS_VALUE, LOSS_PART)
    source = (
        "derived: a mean over other samples differs in float32's 7 digits; an added term that is 0 (open_clip PR #419)"
    )
    fix = "Look at what this term is made of: what the model gives for the batch, or constants, a clamp, an argmax?"
    faulty = "relu(distance - margin) with a margin that no distance reaches"
    healthy = "a term that differs from batch to batch"
    brought_by = ("EG404", "EG301", "EG302", "EG414", "EG416", "EG501")

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per term."""
        if self._constant_since(history.series(LOSS_TOTAL)) is not None:
            return
        for site, series in history.of(LOSS_VALUE):
            state = self._constant_since(series)
            lasting = state is not None and state.lasting(steps=self.steps, windows=self.windows)
            if lasting and len(history.series(LOSS_PART, site)):
                yield self.finding(
                    history,
                    f"{site} is {series.last:.6g} in all {len(series)} windows recorded since step {series.steps[0]}",
                    site=site,
                    since=series.steps[0],
                    evidence={"value": series.last},
                )

    def _constant_since(self, series: Series) -> Streak | None:
        """Return the streak of all values, where they are all that of the first."""
        first = series.first if len(series) else 0.0
        state = series.streak(lambda _, value: abs(value - first) <= self.tolerance * abs(first))
        return state if state is not None and state.windows == len(series) else None
