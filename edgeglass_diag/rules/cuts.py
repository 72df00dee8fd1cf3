"""What was before and behind the newest cut of a run whose program was started again."""

from __future__ import annotations

from bisect import bisect_left

from edgeglass_diag.records import Cut
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.series import Series
from edgeglass_diag.signals.parameters import OPTIMIZER_STEPS

Readings = list[tuple[int, float]]

_JUDGED = 100
"""Steps behind a cut in which rules about it are asked, for the cost: what they need is in the first eleven windows."""


def newest_cut(history: History) -> Cut | None:
    """Return the cut behind which the training goes on, None where there is none or it is long past."""
    cut = history.cuts[-1] if history.cuts else None
    return cut if cut is not None and cut.step <= history.last_step <= cut.step + _JUDGED else None


def around(series: Series, cut: Cut) -> tuple[Readings, Readings]:
    """Return the readings before the cut and those behind it, as (step, value)."""
    first = bisect_left(series.steps, cut.step)
    readings = list(zip(series.steps, series.values, strict=True))
    return readings[:first], readings[first:]


def restored_step(history: History, cut: Cut) -> int | None:
    """Return the step of the record whose state the program went on with, by the count of its optimizer.

    None where the optimizer counts no steps, or its count is 0 or one that this record knows nothing of.
    """
    for _, series in history.of(OPTIMIZER_STEPS):
        before, behind = around(series, cut)
        if before and behind and behind[0][1] > 0:
            step = before[-1][0] + int(behind[0][1] - before[-1][1])
            return step if 0 < step <= cut.step else None
    return None


def near(readings: Readings, step: int) -> tuple[float, float] | None:
    """Return the lowest and highest value of the two readings at or before a step and the two at or behind it.

    None where the step lies behind the last reading: what happened there is not known.
    """
    steps = [reading[0] for reading in readings]
    place = bisect_left(steps, step)
    if place == len(steps):
        return None
    values = [value for _, value in readings[max(0, place - 2) : place + 2]]
    return min(values), max(values)
