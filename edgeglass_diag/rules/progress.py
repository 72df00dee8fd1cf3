"""How far a training has come: what settings that hinder learning are weighed against."""

from __future__ import annotations

from enum import Enum, auto
from math import isfinite, sqrt
from statistics import median

from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.training_state import partners_compared
from edgeglass_diag.signals.losses import LOSS_TOTAL

RIGHT = 0.9
"""Part of what guessing leaves to be learned that is known when a training is done: no setting can cost more than the
tenth that is left. Answers are counted three standard deviations of the binomial below what they are, so that some
hundred answers must nearly all be right (0.98 of 128)."""

BETTER = 0.2
"""Part of its chance level, or of where it began, by which a loss has come down when a model learns: far beyond the
noise of a batch."""

SPAN = 20
"""Newest steps of which answers are counted, as many as a lasting state takes."""

_ENDS = 5
"""Readings at either end of a loss of which the median is taken: up to two spikes do not tell."""


class Progress(Enum):
    """What a training shows: nothing yet, that the model learns, that it answers nearly all right."""

    UNKNOWN = auto()
    UNDER_WAY = auto()
    DONE = auto()


def progress(history: History) -> Progress:
    """Return how far a training has lately come, by its answers and by its loss."""
    if answers_right(history):
        return Progress.DONE
    return Progress.UNDER_WAY if learns(history) else Progress.UNKNOWN


def learns(history: History) -> bool:
    """Return whether the loss has lately come down by a fifth: of its chance level, else of where it began.

    A loss that began at or below zero, as of cosines, has come down where all that it compares is nearer, by a fifth,
    than strangers are.
    """
    total, relative = history.series(LOSS_TOTAL).values, history.relative_loss
    if len(total) < 2 * _ENDS or not all(map(isfinite, total[-_ENDS:])):
        return False
    if 2 * len(relative) >= len(total):
        return median(relative.values[-_ENDS:]) <= -BETTER
    if min(total[:_ENDS]) > 0:
        return median(total[-_ENDS:]) <= (1 - BETTER) * median(total[:_ENDS])
    ratios = [median(ratio.values[-_ENDS:]) for _, ratio in partners_compared(history)]
    return bool(ratios) and max(ratios) <= 1 - BETTER


def answers_right(history: History) -> bool:
    """Return whether nearly all answers of the newest steps are right, beyond what guessing gives and beyond chance.

    Hits h of n answers, of which guessing has e, are so where h - 3 sqrt(n p (1 - p)) >= n p, with p the share that is
    right when ``RIGHT`` of the rest is known, (e + RIGHT (n - e)) / n.
    """
    hits, answers, guessed = history.answers(history.last_step - SPAN)
    if not answers:
        return False
    share = (guessed + RIGHT * (answers - guessed)) / answers
    return hits >= answers * share + 3 * sqrt(answers * share * (1 - share))


def answers_in_words(history: History) -> str:
    """Return how many answers are lately right."""
    hits, answers, guessed = history.answers(history.last_step - SPAN)
    return f"{hits / answers:.0%} of its answers are right, {guessed / answers:.0%} by guessing"
