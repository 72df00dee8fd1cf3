"""Questions that several rules ask: is the loss at chance, has the optimizer had its chance."""

from __future__ import annotations

from edgeglass_diag.rules.history import Held, History

MOVED = 0.2
"""Cumulated relative update from which on a model that learns must show it: the weights moved by a fifth.

With Adam at a usual 1e-3 per step (https://cs231n.github.io/neural-networks-3/#ratio) these are 200 steps.
"""


def no_better_than_chance(history: History, tolerance: float) -> Held | None:
    """Since when the whole loss has been no lower than ``tolerance`` (relative) below its chance level.

    A loss above chance knows as little: it is a uniform guess plus the cost of being sure of it.
    """
    return history.streak(("chance", tolerance), history.relative_loss, lambda _, value: value >= -tolerance)


def weight_matrices(history: History) -> list[str]:
    """Parameters with two or more dimensions that did not start at (nearly) zero.

    A matrix that starts at zero has a large relative update by arithmetic, as a zero-initialised gate or
    adapter does.
    """
    return [site for site, _ in history.of("weight/row_signal") if history.started(site)]


def stuck(history: History, *, tolerance: float = 0.1, steps: int = 20, windows: int = 4) -> bool:
    """Whether the loss is known, and has lately been no more than ``tolerance`` (relative) better than chance."""
    state = no_better_than_chance(history, tolerance)
    return state is not None and state.lasting(steps=steps, windows=windows)


def sobering(history: History, *, tolerance: float = 0.1, windows: int = 4) -> bool:
    """Whether a loss that began above chance, being sure of the wrong things, has lost half of that excess by now."""
    state, losses = no_better_than_chance(history, tolerance), history.relative_loss
    if state is None or state.windows <= windows:
        return False
    excess = losses.at(state.since)
    return excess > tolerance and sum(losses.values[-windows:]) / windows <= excess / 2


def loaded_and_random(history: History) -> tuple[set[str], set[str]]:
    """Parameters whose values were loaded from a checkpoint, and those that were drawn at random and not loaded.

    A copy of the whole of something that nobody was seen to draw is a checkpoint loaded by hand.
    """
    loaded = {
        o.name
        for o in history.origins
        if any(w.op == "load_state_dict" or (w.op == "copy_" and not w.random and not w.partial) for w in o.writes)
    }
    drawn = {o.name for o in history.origins if any(w.random for w in o.writes)}
    return loaded, drawn - loaded


def is_softmax(history: History, site: str) -> bool:
    """Whether a loss is a softmax over candidates, and not a sigmoid of each logit."""
    known = history.sites.get((site, "loss"))
    return known is None or known.label != "sigmoid"


def is_paired(history: History) -> bool:
    """Whether the labels of a loss say that the sample of a row and that of its column are a pair."""
    return any(series.last >= 0.5 for _, series in history.of("loss/labels_diagonal"))
