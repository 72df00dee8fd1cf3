"""Questions that several rules ask: is the loss at chance, has the optimizer had its chance."""

from __future__ import annotations

from edgeglass_diag.rules.history import Held, History, held

MOVED = 0.2
"""Cumulated relative update from which on a model that learns must show it: the weights moved by a fifth.

With Adam at a usual 1e-3 per step (https://cs231n.github.io/neural-networks-3/#ratio) these are 200 steps.
"""


def no_better_than_chance(history: History, tolerance: float) -> Held | None:
    """Since when the whole loss has been no lower than ``tolerance`` (relative) below its chance level.

    A loss above chance knows as little: it is a uniform guess plus the cost of being sure of it.
    """
    return held(history.relative_loss, lambda _, value: value >= -tolerance)


def weight_matrices(history: History) -> list[str]:
    """Parameters with two or more dimensions that did not start at (nearly) zero.

    A matrix that starts at zero has a large relative update by arithmetic, as a zero-initialised gate or
    adapter does.
    """
    return [site for site, _ in history.of("weight/row_signal") if history.started(site)]
