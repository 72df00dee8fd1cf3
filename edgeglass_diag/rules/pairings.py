"""EG314 and EG315: what the loss calls a pair is not what is alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.series import Streak
from edgeglass_diag.signals.pairings import PAIRING_ADVANTAGE, PAIRING_LABELLED, PAIRING_NUMBER, PAIRING_OTHER
from edgeglass_diag.sites import PairSite

_CHANCE = 1e-3
"""Probability that some pairing of one batch passes by chance; in all windows it must be the same pairing."""
_LARGEST = 1024
"""Pairings that are compared at most (shifts of a batch), by which that probability is divided (Bonferroni)."""
_ITSELF = 0


@dataclass(frozen=True)
class WrongPairing(Rule):
    """Another fixed pairing of the batch is far more alike than the labelled one.

    Why: the labels say which row belongs to which column by its place. Where the batch is laid out otherwise (two views
    one behind the other and not in turns, a shift, the offset of a rank), strangers are drawn together and partners
    are pushed apart. The loss stays at ln C.

    Formula: with similarities standardised within each row, the pairs of a shift of the batch, of neighbours (0 with 1,
    2 with 3) or of the batch reversed are more alike than the labelled ones by ``t`` standard errors of their mean
    difference, and the labelled ones have at most ``share`` of that pairing's excess over the mean of their rows; it
    is the same pairing in every recorded window over at least ``steps`` steps and ``windows`` windows. Labels of
    classes, which are no pairing, are not judged.
    """

    t: float = round(NormalDist().inv_cdf(1 - _CHANCE / _LARGEST), 1)
    share: float = 0.5
    steps: int = 20
    windows: int = 4

    code = "EG314"
    name = "wrong-pairing"
    title = "Another pairing of the batch is far more alike than the labelled one"
    severity = Severity.CRITICAL
    page = "embeddings"
    signals = (PAIRING_ADVANTAGE, PAIRING_OTHER, PAIRING_LABELLED, PAIRING_NUMBER)
    source = (
        "derived: paired t test, one-sided at 0.001 over 1024 pairings (Bonferroni); open-mmlab/mmselfsup #159, "
        "lightly PR#1177 (labels offset by a rank)"
    )
    fix = "Make the labels follow the layout of the batch: print which row is which view, then set labels by that."
    refuted_by_learning = True
    faulty = "z = cat([view1, view2]); positives = arange(2 * B) ^ 1"
    healthy = "z = cat([view1, view2]); positives = (arange(2 * B) + B) % (2 * B)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for each pair of sides."""
        for pair, state, number in other_pairings(history, self.t, self.share):
            itself = number == _ITSELF and len(set(pair.sides)) == 1
            if itself or not state.lasting(steps=self.steps, windows=self.windows):
                continue
            other, labelled = (history.series(s, pair.path).last for s in (PAIRING_OTHER, PAIRING_LABELLED))
            yield self.finding(
                history,
                f"{_words(number)} are more alike than their row by {other:.2f} of its standard deviations, the "
                f"labelled ones by {labelled:.2f}, since step {state.since}",
                site=pair.path,
                since=state.since,
                evidence={
                    "other": other, "labelled": labelled, "pairing": number,
                    "t": history.series(PAIRING_ADVANTAGE, pair.path).last,
                },
                fix=_fix(number) or self.fix,
            )  # fmt: skip


@dataclass(frozen=True)
class SelfAmongCandidates(Rule):
    """Each sample is among its own candidates, as one that is to be pushed away.

    Why: the cosine of a sample with itself is 1, the largest there is. No model can rank the partner above it, the
    in-batch accuracy stays 0, and the loss has a floor of ln 2 even where all partners are found.

    Formula: logits are products of a batch with itself, labels name other rows, and the entries of the rows with
    themselves are more alike than the labelled ones by ``t`` standard errors, in every recorded window over at least
    ``windows`` windows.
    """

    t: float = round(NormalDist().inv_cdf(1 - _CHANCE / _LARGEST), 1)
    windows: int = 4

    code = "EG315"
    name = "self-among-candidates"
    title = "Each sample is its own negative"
    severity = Severity.CRITICAL
    page = "embeddings"
    signals = (PAIRING_ADVANTAGE, PAIRING_OTHER, PAIRING_LABELLED, PAIRING_NUMBER)
    source = (
        "derived: exp(s) / (exp(s) + exp(s c)) >= 1/2 for a cosine c <= 1; SimCLR, https://arxiv.org/abs/2002.05709"
    )
    fix = "Mask the diagonal before the loss: logits.fill_diagonal_(-inf), or masked_fill(eye, -inf)."
    faulty = "cross_entropy(z @ z.T / t, positives)"
    healthy = "cross_entropy((z @ z.T / t).masked_fill(eye, -inf), positives)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for each batch that is compared with itself."""
        for pair, state, number in other_pairings(history, self.t, 1.0):
            if number != _ITSELF or len(set(pair.sides)) > 1 or state.windows < self.windows:
                continue
            other = history.series(PAIRING_OTHER, pair.path).last
            yield self.finding(
                history,
                f"rows of {pair.left} are among their own candidates, and more alike than the others by {other:.1f} "
                f"standard deviations, since step {state.since}",
                site=pair.path,
                since=state.since,
                evidence={"itself": other, "labelled": history.series(PAIRING_LABELLED, pair.path).last},
            )


def other_pairings(history: History, t: float, share: float) -> Iterable[tuple[PairSite, Streak, int]]:
    """Yield the pairs of sides of which one same pairing is more alike than the labelled one, since when, and which.

    Args:
        history: what has been recorded.
        t: least paired t statistic.
        share: most of that pairing's excess that the labelled one may have.
    """
    for pair, advantage in history.at(PairSite, PAIRING_ADVANTAGE):
        numbers = history.series(PAIRING_NUMBER, pair.path)
        other, labelled = (history.series(s, pair.path) for s in (PAIRING_OTHER, PAIRING_LABELLED))
        number = numbers.last
        if number != number:
            continue
        state = advantage.streak(
            lambda step, value: (
                value >= t
                and numbers.at(step) == number  # noqa: B023
                and labelled.at(step) <= share * other.at(step)  # noqa: B023
            )
        )
        if state is not None:
            yield pair, state, int(number)


def _words(number: int) -> str:
    """Return a pairing in words."""
    match number:
        case -1:
            return "neighbours (rows 0 and 1, 2 and 3)"
        case -2:
            return "rows of the batch and of the batch reversed"
        case 0:
            return "rows and columns of the same number"
    return f"rows i and i + {number}"


def _fix(number: int) -> str:
    """Return what to do about labels that should have followed a pairing."""
    match number:
        case -1:
            return "Set the positives to i ^ 1: the two views of a sample lie side by side."
        case -2:
            return "Do not reverse one side of the batch: its last row belongs to the first of the other side."
        case 0:
            return "Set the labels to arange(B): row i belongs to column i."
    return f"Set the positives to i + {number} (modulo the batch): that is where the partner of row i lies."
