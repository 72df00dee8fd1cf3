"""Questions that several rules ask: is the loss at chance, has the optimizer had its chance."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.series import Series, Streak
from edgeglass_diag.signals.embeddings import EMBEDDING_DISTANCE, EMBEDDING_SPREAD
from edgeglass_diag.signals.losses import LOSS_LABELS_DIAGONAL, LOSS_TOTAL
from edgeglass_diag.signals.parameters import OPTIMIZER_LR, WEIGHT_ROW_SIGNAL
from edgeglass_diag.sites import LossSite, PairSite

MOVED = 0.2
"""Cumulated relative update from which on a model that learns must show it: the weights moved by a fifth.

With Adam at a usual 1e-3 per step (https://cs231n.github.io/neural-networks-3/#ratio) these are 200 steps.
"""

GROWTH = 8
"""Readings in which a signal that is on its way must double: the median of the newer half against the older one's.

Behind zero-initialised gates an embedding begins without any signal, which then grows exponentially: doubled every
20 steps, as at the densest cadence, it comes from 1e-8 to 1e-2 within 400.
"""
_ENDS = 5
"""Readings at either end of a loss of which the median tells where it began, or is: up to two spikes do not."""

_NOISE = 1e-12
"""Signal from which on growth is no play of rounding: float32 leaves (2^-24)^2 = 4e-15 per unit of energy."""


def signal_growing(signal: Series) -> bool:
    """Return whether a sample signal is small and grows: what starts at a saddle leaves it slowly, and then at once.

    Not where it is down from a former height, whose remains may well rise and fall.
    """
    recent = signal.values[-GROWTH:]
    if len(recent) < GROWTH or recent[-1] < max(signal.values) / 2:
        return False
    older, newer = median(recent[: GROWTH // 2]), median(recent[GROWTH // 2 :])
    return newer > _NOISE and newer >= 2 * older


def no_better_than_chance(history: History, tolerance: float) -> Streak | None:
    """Return since when the whole loss has been no lower than ``tolerance`` (relative) below its chance level.

    A loss above chance knows as little: it is a uniform guess plus the cost of being sure of it.
    """
    return history.relative_loss.streak(lambda _, value: value >= -tolerance)


def matrices(history: History) -> list[str]:
    """Return the weights that an optimizer holds and that have two or more dimensions above one."""
    return [site for site, _ in history.of(WEIGHT_ROW_SIGNAL)]


def weight_matrices(history: History) -> list[str]:
    """Return those of the matrices that did not start at (nearly) zero.

    A matrix that starts at zero has a large relative update by arithmetic, as a zero-initialised gate or
    adapter does.
    """
    return [site for site in matrices(history) if history.started(site)]


def at_chance(history: History, *, tolerance: float = 0.1, steps: int = 20, windows: int = 4) -> bool:
    """Return whether the loss is known, and lately no more than ``tolerance`` (relative) better than chance."""
    state = no_better_than_chance(history, tolerance)
    return state is not None and state.lasting(steps=steps, windows=windows)


def learned_little(history: History, tolerance: float) -> bool:
    """Return whether the whole loss has come down by no more than ``tolerance`` (relative).

    That is, from its chance level in the newest windows, or, where that is not known for most of them, from the median
    of the first ones to that of the newest. A loss that began at or below zero, as of cosines, says nothing by itself:
    there what it compares must be no nearer than strangers.
    """
    total, relative = history.series(LOSS_TOTAL), history.relative_loss
    if 2 * len(relative) >= len(total) > 0:
        return median(relative.values[-_ENDS:]) >= -tolerance
    if any(value <= 0 for value in total.values[:_ENDS]):
        return partners_apart(history, tolerance)
    return hardly_fallen(total, tolerance)


def partners_compared(history: History) -> Iterator[tuple[str, Series]]:
    """Yield what the loss of now compares row by row, where both sides vary, with the distance over strangers'."""
    now = history.series(LOSS_TOTAL).steps[-1:]
    for pair, ratio in history.at(PairSite, EMBEDDING_DISTANCE):
        spreads = [history.series(EMBEDDING_SPREAD, side) for side in pair.sides]
        if ratio.steps[-1:] == now and all(len(spread) and spread.last > 0 for spread in spreads):
            yield pair.path, ratio


def partners_apart(history: History, tolerance: float) -> bool:
    """Return whether all that the loss compares is lately no nearer, by ``tolerance`` (relative), than strangers."""
    newest = [ratio.values[-_ENDS:] for _, ratio in partners_compared(history)]
    return bool(newest) and all(len(v) == _ENDS and median(v) >= 1 - tolerance for v in newest)


def hardly_fallen(loss: Series, tolerance: float) -> bool:
    """Return whether the newest readings of a loss are no more than ``tolerance`` (relative) below the first ones."""
    if len(loss) < 2 * _ENDS:
        return False
    first, newest = median(loss.values[:_ENDS]), median(loss.values[-_ENDS:])
    return first > 0 and newest >= (1 - tolerance) * first


def still_rising(history: History, since: int) -> bool:
    """Return whether a learning rate has more than doubled since a step: a warm-up is under way."""
    return any(
        series.last > 2 * next(v for s, v in zip(series.steps, series.values, strict=True) if s >= since)
        for _, series in history.of(OPTIMIZER_LR)
        if series.steps[-1] >= since
    )


def learned(history: History, *, better: float = 0.2, steps: int = 20, windows: int = 4) -> Streak | None:
    """Return since when the whole loss has lastingly been at least ``better`` (relative) below its chance level.

    A fifth of ln B is far beyond the noise of a batch.
    """
    state = history.relative_loss.streak(lambda _, value: value <= -better)
    return state if state is not None and state.lasting(steps=steps, windows=windows) else None


def recovering_from_overconfidence(history: History, *, tolerance: float = 0.1, windows: int = 4) -> bool:
    """Return whether a loss that began above chance, sure of the wrong things, has lost half of that excess."""
    state, losses = no_better_than_chance(history, tolerance), history.relative_loss
    if state is None or state.windows <= windows:
        return False
    excess = losses.at(state.since)
    return excess > tolerance and sum(losses.values[-windows:]) / windows <= excess / 2


def loaded_and_random(history: History) -> tuple[set[str], set[str]]:
    """Return the parameters that were loaded from a checkpoint, and those that were drawn at random and not loaded.

    A copy of the whole of something that was not drawn in this process is a checkpoint loaded by hand.
    """
    loaded = {
        o.name
        for o in history.origins
        if any(w.is_loaded or (w.op == "copy_" and not w.random and not w.partial) for w in o.writes)
    }
    drawn = {o.name for o in history.origins if any(w.random for w in o.writes)}
    return loaded, drawn - loaded


def is_softmax(history: History, site: str) -> bool:
    """Return whether a loss is a softmax over candidates, and not a sigmoid of each logit."""
    known = history.site(LossSite, site)
    return known is None or not known.is_sigmoid


def is_paired(history: History) -> bool:
    """Return whether the labels of a loss say that the sample of a row and that of its column are a pair."""
    return any(series.last >= 0.5 for _, series in history.of(LOSS_LABELS_DIAGONAL))
