"""Questions that several rules ask: is the loss at chance, has the optimizer had its chance."""

from __future__ import annotations

import math
from statistics import median

from edgeglass_diag.rules.history import Held, History, Series, held

MOVED = 0.2
"""Cumulated relative update from which on a model that learns must show it: the weights moved by a fifth.

With Adam at a usual 1e-3 per step (https://cs231n.github.io/neural-networks-3/#ratio) these are 200 steps.
"""


def relative_loss(history: History) -> Series:
    """(whole loss - chance level of its cross-entropies) / chance level, where these explain the whole loss."""
    total, chance = history.series("loss/total"), history.series("loss/chance")
    explained = history.series("loss/explained")
    result = Series()
    for step, value in zip(total.steps, total.values, strict=True):
        level, part = chance.at(step), explained.at(step)
        if level > 0 and abs(part - value) <= 0.01 * abs(level):
            result.steps.append(step)
            result.values.append((value - level) / level)
    return result


def no_better_than_chance(history: History, tolerance: float) -> Held | None:
    """Since when the whole loss has been no lower than ``tolerance`` (relative) below its chance level.

    A loss above chance knows as little: it is a uniform guess plus the cost of being sure of it.
    """
    return held(relative_loss(history), lambda _, value: value >= -tolerance)


def weight_matrices(history: History) -> list[str]:
    """Parameters with two or more dimensions that did not start at (nearly) zero.

    A matrix that starts at zero has a large relative update by arithmetic, as a zero-initialised gate or
    adapter does.
    """
    found = []
    for site, rows in history.of("weight/row_signal"):
        sizes = history.series("weight/norm", site)
        if len(rows) and len(sizes) and sizes.values[0] > 0.02 * sizes.last:
            found.append(site)
    return found


def median_update_ratio(history: History) -> Series:
    """Median over the weight matrices of |delta w| / |w|, by step."""
    by_step: dict[int, list[float]] = {}
    for site in weight_matrices(history):
        series = history.series("update/ratio", site)
        for step, value in zip(series.steps, series.values, strict=True):
            if math.isfinite(value):
                by_step.setdefault(step, []).append(value)
    result = Series()
    for step in sorted(by_step):
        result.steps.append(step)
        result.values.append(median(by_step[step]))
    return result


def cumulated_update(history: History, *, since: int = 0) -> float:
    """Sum over steps of the median relative update from ``since`` on, between recorded windows interpolated."""
    series = median_update_ratio(history)
    total, last = 0.0, since - 1
    for step, value in zip(series.steps, series.values, strict=True):
        if step >= since:
            total += value * (step - last)
            last = step
    return total
