"""What an explanation has found, in words: made here for the dashboard and the report."""

from __future__ import annotations

import math

from edgeglass_diag.explained.record import KeptExplanation, KeptTrial, Marked, Tried
from edgeglass_diag.verdict import say

TRIAL_COLUMNS = ("changed", "seed", "loss", "accuracy", "learns", "findings gone", "steps", "ending")
TRIED_COLUMNS = ("change", "failing value", "healthy value", "cures", "makes ill", "set at")
_MOST_NAMED = 5
"""Paths that are named."""

MARK_COLUMNS = ("finding", "at", "mark", "because")


def trial_cells(trial: KeptTrial, explanation: KeptExplanation) -> tuple[str, ...]:
    """Return the cells of ``TRIAL_COLUMNS``."""
    unchanged = trial.label == explanation.control
    gone = (
        "–"
        if unchanged or explanation.control is None or not trial.is_resolved
        else ", ".join(explanation.gone(trial)) or "none"
    )
    learns = "no result" if not trial.is_resolved else "does not learn" if trial.ill else "learns"
    steps = str(trial.steps) if trial.steps else "–"
    return (
        trial.label, str(trial.seed), loss_text(trial.loss), accuracy_text(trial.accuracy), learns, gone, steps,
        trial.ending or "–",
    )  # fmt: skip


def tried_cells(tried: Tried) -> tuple[str, ...]:
    """Return the cells of ``TRIED_COLUMNS``."""
    others = [name for name in tried.together if name != tried.setting]
    change = tried.setting + (f" (only together with {', '.join(others)})" if others else "")
    values = ("–" if value is None else say(value) for value in (tried.ill, tried.healthy))
    return change, *values, tried.cured or "not tried", tried.made_ill or "not tried", tried.where or "–"


def mark_cells(marked: Marked) -> tuple[str, ...]:
    """Return the cells of ``MARK_COLUMNS``."""
    return f"{marked.code} {marked.name}".strip(), marked.site or "whole model", str(marked.mark), marked.by or "–"


def loss_text(loss: float | None) -> str:
    """Return a loss relative to chance in words.

    >>> loss_text(-0.123), loss_text(0.5), loss_text(0.0001), loss_text(None)
    ('12.3% below chance', '50.0% above chance', 'at chance', '–')
    """
    if loss is None:
        return "–"
    if not math.isfinite(loss):
        return "not finite"
    if abs(loss) < 0.0005:
        return "at chance"
    return f"{abs(loss):.1%} {'below' if loss < 0 else 'above'} chance"


def accuracy_text(accuracy: float | None) -> str:
    """Return an in-batch accuracy, a fraction, in words.

    >>> accuracy_text(0.125), accuracy_text(None)
    ('12.5%', '–')
    """
    return "–" if accuracy is None or not math.isfinite(accuracy) else f"{accuracy:.1%}"


def notes(explanation: KeptExplanation) -> list[str]:
    """Return what has to be known of all replays together, one sentence each."""
    said = []
    if explanation.trials:
        took = "" if explanation.seconds is None else f" in {explanation.seconds:.0f} s"
        length = "" if explanation.steps is None else f", each of at most {explanation.steps} optimizer steps"
        said.append(f"{len(explanation.trials)} replays{took}{length}.")
    if explanation.border is not None:
        said.append(f"A replay learns that ends lower than {loss_text(explanation.border)}.")
    if explanation.noise is not None:
        said.append(
            "A replay that changes nothing ends bit for bit where the unchanged program does."
            if explanation.noise == 0
            else f"A replay that changes nothing differs by {explanation.noise:.2g}: less than that is no cure."
        )
    if explanation.guard:
        said.append(f"Files were guarded by {explanation.guard}.")
    if explanation.left_out:
        named = ", ".join(explanation.left_out[:_MOST_NAMED])
        more = len(explanation.left_out) - _MOST_NAMED
        said.append(f"Replays begin without what the run has left: {named}{f' and {more} more' if more > 0 else ''}.")
    if not explanation.finished:
        said.append("Not everything was tried: the budget was spent before.")
    return said
