"""How fast a training goes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from edgeglass_diag.auditing.conclusion import Concluded, Work, conclude
from edgeglass_diag.auditing.descent import training_losses
from edgeglass_diag.auditing.logged import Case, Series
from edgeglass_diag.auditing.trainings import SLOWER
from edgeglass_diag.auditing.trend import noise, thirds

ROWS = 9
LEFT = 0.75
"""Share of the speed of the first third that is left in the last."""


def slows_down(case: Case) -> Iterator[Concluded]:
    """EG258: in thirds of the rows the speed does not rise, and the last has a quarter less than the first.

    The speed is a column of a number per second, one over the duration of a step, or made of the times of the rows.
    Medians of thirds do not see a first row that compiles, or evaluations and checkpoints in between.
    """
    for series, values, unit in _speeds(case):
        if len(values) < ROWS or min(values) <= 0:
            continue
        first, middle, last = thirds(values)
        error = 1.2533 * noise(values) / math.sqrt(len(values) / 3)
        if last > LEFT * first or first - last <= 4 * math.sqrt(2) * error:
            continue
        if middle > 1.02 * first or last > 1.02 * middle:
            continue
        yield conclude(
            SLOWER, case, series,
            f"{first:.4g} {unit} in the first third of the rows, {middle:.4g} in the second, {last:.4g} in the last "
            f"({last / first - 1:+.0%}), by {series.label}",
            evidence={"first": first, "middle": middle, "last": last},
            work=Work((f"{last:.5g} / {first:.5g} = {last / first:.3f} < {LEFT}",)),
        )  # fmt: skip
        return


def _speeds(case: Case) -> Iterator[tuple[Series, list[float], str]]:
    for series in case.of("speed"):
        if series.role.split in ("", "train"):
            yield series, [v for _, v in series.finite], "per second"
    for series in case.of("duration"):
        if series.role.split in ("", "train"):
            yield series, [1 / v for _, v in series.finite if v > 0], "steps per unit of time"
    losses = training_losses(case)
    for series in case.of("time"):
        if losses:
            yield series, _between_rows(series, losses[0]), "steps per second"


def _between_rows(times: Series, loss: Series) -> list[float]:
    """Return the steps per second between rows with a training loss, in one table."""
    if times.table is not loss.table:
        return []
    at = dict(times.finite)
    rows = [(step, at[step]) for step in dict.fromkeys(loss.steps) if step in at]
    if any(b[0] <= a[0] or b[1] <= a[1] for a, b in pairwise(rows)):
        return []
    return [(b[0] - a[0]) / (b[1] - a[1]) for a, b in pairwise(rows)]
