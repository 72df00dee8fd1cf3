"""What most probably cures a model that learns nothing, by its task and by what was measured of it."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.tasks import main_task
from edgeglass_diag.sites import Task

_LARGE, _SMALL = 1e-2, 1e-4
"""Median relative updates, ten times the usual 1e-3 and a tenth of it, which is TheDeepChecker's lower bound
(https://cs231n.github.io/neural-networks-3/#ratio, https://arxiv.org/abs/2204.00694)."""

_REACH = 20
"""Steps after a fault began in which what brought it is looked for: those that the rules wait."""

_PAIRS: Mapping[Task, str] = {
    Task.CONTRASTIVE: "Look at some pairs as the model gets them: do the rows of both sides belong together?",
    Task.CLASSIFICATION: "Look at some samples with their labels as the loss gets them: do they belong together, and "
    "are the classes numbered as the labels are?",
    Task.GENERATION: "Look at the labels as the loss gets them: shifted by one position once (not twice, not never), "
    "padding ignored, and the image's tokens where the text attends to them?",
    Task.MATCHING: "Look at how the pairs that do not match are made: can they be told from the others at all?",
    Task.REGRESSION: "Look at some samples with their targets as the loss gets them: do they belong together, and are "
    "both of the same scale?",
    Task.DISTILLATION: "Look at what the teacher gives: does it vary, and does it see the same input as the student?",
}


def rate_remedy(history: History, since: int) -> str:
    """Return what to do about the learning rate, by the updates until a fault began; empty where they are usual."""
    updates = zip(history.updates.steps, history.updates.values, strict=True)
    early = [value for step, value in updates if step <= since + _REACH]
    ratio = median(early) if early else 0.0
    if ratio > _LARGE:
        words = f"a step changes the median weight matrix by {ratio:.1%} (usual is 0.1%)"
        return f"Lower the learning rate by 10 and add warm-up: {words}."
    if 0 < ratio < _SMALL:
        return f"Raise the learning rate: a step changes the median weight matrix by {ratio:.1e} of it (usual is 1e-3)."
    return ""


def pairs_remedy(task: Task) -> str:
    """Return what of the samples and their targets to look at, by the task; empty where it is not known."""
    return _PAIRS.get(task, "")


def chance_remedy(history: History, since: int) -> str:
    """Return what to do where the loss stays at chance; empty where nothing is known."""
    return f"{rate_remedy(history, since)} {pairs_remedy(main_task(history))}".strip()


def constant_remedy(history: History, since: int, *, collapsed: bool, dead: str | None) -> str:
    """Return what to do where a side gives the same for every sample; empty where nothing is known.

    Args:
        history: what has been recorded.
        since: the step from which on it does.
        collapsed: whether it varied before.
        dead: path of the first module that loses the sample, None where none does.
    """
    if collapsed:
        return rate_remedy(history, since)
    if dead is not None:
        return (
            f"Look at {dead}: from the first step on it gives the same for every sample. Is its input the sample's, "
            "are its units alive, its weights not zero?"
        )
    return (
        "Look at what this side adds to all samples alike (a bias, a learned token, a residual): it is far larger than "
        "what differs between them, from the first step on."
    )


_CONSTANT: Mapping[Task, str] = {
    Task.CLASSIFICATION: "Look at the labels: a classifier that ignores its input gives the classes' frequencies. Then "
    "lower the learning rate.",
    Task.GENERATION: "Lower the learning rate and warm up; then look at whether the input reaches the last layers.",
    Task.MATCHING: "Look at how the pairs that do not match are made: a head that cannot tell them gives their share.",
    Task.REGRESSION: "Look at the scale of the targets: a model that ignores its input gives their mean. Where the "
    "targets are another output of the model, detach them and keep them from becoming constant.",
    Task.DISTILLATION: "Keep the teacher from becoming constant with the student: centre and sharpen what it gives, or "
    "use a predictor and a stop-gradient.",
}


def output_remedy(history: History) -> str:
    """Return what to do where the output no longer depends on the input; empty for likeness without negatives."""
    return _CONSTANT.get(main_task(history), "")
