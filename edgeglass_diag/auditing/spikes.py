"""Gradients that are much too large in single rows, and NaN that is tolerated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgeglass_diag.auditing.conclusion import Concluded, Work, conclude
from edgeglass_diag.auditing.logged import Case
from edgeglass_diag.auditing.trainings import GRADIENT_SPIKES, NAN_TOLERATED

SPIKE = 10.0
"""Times the usual norm from which on a row is a spike."""
HARMFUL = 1 / math.sqrt(1 - 0.999)
"""Times the usual norm at which one gradient outweighs Adam's second moment (beta2 = 0.999)."""
AROUND = 10
"""Rows on each side that say what is usual."""
DEVIATIONS = 6.0
SCALER = 0.01
"""Share of infinite gradients that a loss scaler makes at most, twenty times one in 2000 steps."""
CALIBRATION = 20
"""Rows at the beginning in which a loss scaler looks for its scale: 2^16 is halved at most some 20 times."""


def gradient_spikes(case: Case) -> Iterator[Concluded]:
    """EG254: rows with a gradient norm of ten times those around it, and six deviations of the logarithms beyond.

    Said where there are three of them, or where one is at least 32 times the usual: less happens in healthy trainings.
    """
    for series in case.of("grad_norm", part=""):
        rows = [(step, v) for step, v in series.finite if v > 0]
        if len(rows) < 2 * AROUND:
            continue
        ratios = _ratios([v for _, v in rows])
        spread = 1.4826 * float(np.median(np.abs(np.log(ratios))))
        limit = max(math.log(SPIKE), DEVIATIONS * spread)
        high = [i for i in range(len(rows)) if math.log(ratios[i]) > limit]
        if not high or (len(high) < 3 and max(ratios[high]) < HARMFUL):
            continue
        top = max(high, key=lambda i: rows[i][1])
        where = ", ".join(str(rows[i][0]) for i in high[:5]) + (" ..." if len(high) > 5 else "")
        yield conclude(
            GRADIENT_SPIKES, case, series,
            f"{series.label} is {rows[top][1]:.4g} at step {rows[top][0]}, {ratios[top]:.0f} times the usual "
            f"{rows[top][1] / ratios[top]:.3g}; {len(high)} such rows: step {where}",
            since=rows[high[0]][0],
            evidence={"largest": rows[top][1], "times": float(ratios[top]), "steps": [rows[i][0] for i in high[:50]]},
        )  # fmt: skip


def _ratios(values: Sequence[float]) -> NDArray[np.float64]:
    """Return each row over the larger of the medians of the rows before and after it, so that no shift is a spike."""
    array = np.array(values)
    usual = np.full(len(array), math.inf)
    medians = np.median(np.lib.stride_tricks.sliding_window_view(array, AROUND), axis=1)
    usual[AROUND:-AROUND] = np.maximum(medians[: -AROUND - 1], medians[AROUND + 1 :])
    for index in (*range(3, AROUND), *range(len(array) - AROUND, len(array) - 3)):
        before, after = array[max(0, index - AROUND) : index], array[index + 1 : index + 1 + AROUND]
        usual[index] = max(np.median(before), np.median(after))
    return np.asarray(np.maximum(array / usual, 1e-9), dtype=np.float64)


def nan_tolerated(case: Case) -> Iterator[Concluded]:
    """EG461: a training loss is NaN or infinite in rows that finite ones follow; or a gradient, more often than scaled.

    What is not finite to the end has the code EG801.
    """
    for series in (*case.of("loss"), *case.of("grad_norm")):
        bad = [i for i, v in enumerate(series.values) if not math.isfinite(v)]
        if not bad or not math.isfinite(series.last):
            continue
        if series.role.kind == "grad_norm":
            late = [i for i in bad if i >= CALIBRATION]
            if len(late) <= SCALER * len(series.values):
                continue
            bad = late
        yield conclude(
            NAN_TOLERATED, case, series,
            f"{series.label} is {series.values[bad[0]]} at step {series.steps[bad[0]]}, and in {len(bad)} of "
            f"{len(series.values)} rows; the training goes on",
            since=series.steps[bad[0]],
            evidence={"rows": len(bad), "of": len(series.values), "steps": [series.steps[i] for i in bad[:50]]},
            work=Work((f"{len(bad)} / {len(series.values)} = {len(bad) / len(series.values):.2%}",)),
        )  # fmt: skip
