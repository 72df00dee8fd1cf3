"""What the losses of a run ask of the model."""

from __future__ import annotations

from edgeglass_diag.rules.history import History
from edgeglass_diag.signals.losses import LOSS_CANDIDATES, LOSS_WEIGHT
from edgeglass_diag.sites import LossSite, Task


def task_of(history: History, site: str) -> Task:
    """Return what a loss asks for: two classes beside a contrast say whether two samples match.

    Args:
        history: what has been recorded.
        site: path of the loss.
    """
    known = history.site(LossSite, site)
    if known is None:
        return Task.UNKNOWN
    candidates = history.series(LOSS_CANDIDATES, site)
    two = len(candidates) > 0 and candidates.last <= 2
    beside = any(other.task is Task.CONTRASTIVE for other in history.sites_of(LossSite))
    return Task.MATCHING if known.task is Task.CLASSIFICATION and two and beside else known.task


def tasks(history: History) -> set[Task]:
    """Return what all losses of a run ask for."""
    return {task_of(history, site.path) for site in history.sites_of(LossSite)}


def main_task(history: History) -> Task:
    """Return what the loss with the largest weight asks for, a contrast where it is as large; UNKNOWN without one."""
    weights = {path: series.last for path, series in history.of(LOSS_WEIGHT)}
    sites = [site.path for site in history.sites_of(LossSite)]
    ranked = max(
        sites, key=lambda path: (weights.get(path, 0.0), task_of(history, path) is Task.CONTRASTIVE), default=None
    )
    return Task.UNKNOWN if ranked is None else task_of(history, ranked)
