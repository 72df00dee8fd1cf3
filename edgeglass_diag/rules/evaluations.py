"""What is known of the evaluations of a run."""

from __future__ import annotations

from edgeglass_diag.rules.history import History
from edgeglass_diag.signals.evaluation import EVALUATION_ANSWERS, EVALUATION_LOSS, EVALUATION_RECALL


def is_judged(history: History, step: int) -> bool:
    """Return whether the passes of an evaluation led to a loss, a recall or another answer.

    Samples that a generator draws without gradients do not, nor do passes that count parameters or take the time.
    """
    answers = (EVALUATION_LOSS, EVALUATION_RECALL, EVALUATION_ANSWERS)
    return any(value == value for signal in answers for _, s in history.of(signal) for value in (s.at(step),))
