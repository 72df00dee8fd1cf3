"""What usual thresholds say of the same record: the loss, and the norm of the gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median

from edgeglass_diag.records import Window
from edgeglass_diag.signals.losses import LOSS_TOTAL
from edgeglass_diag.signals.parameters import GRADIENT_NORM

EXPLODING = 70.0
"""AutoTrainer (Zhang et al., ICSE 2021): a gradient above 70 explodes."""

VANISHING = 1e-6
"""TheDeepChecker (Ben Braiek and Khomh, TOSEM 2023): gradients below 1e-6 vanish."""

_WARMUP = 3
"""Recorded windows before which no gradient is judged."""


def alarms(windows: Iterable[Window]) -> dict[str, int]:
    """Return the alarms by name, each with the step at which it is first given.

    ``loss not finite``: as trackers alert on. ``loss flat``: the median loss of the last quarter of the run is no
    lower than that of the second quarter, so the second half has brought nothing; told at the end. ``gradient
    explodes`` and ``gradient vanishes``: the norm of the whole gradient in three recorded windows running, behind the
    first three.
    """
    loss: list[tuple[int, float]] = []
    norm: list[tuple[int, float]] = []
    for window in windows:
        for reading in window.readings:
            if not reading.site and len(reading.values) == 1:
                if reading.signal == LOSS_TOTAL:
                    loss.append((window.step, reading.values[0]))
                elif reading.signal == GRADIENT_NORM:
                    norm.append((window.step, reading.values[0]))
    found = {"loss not finite": next((step for step, value in loss if not math.isfinite(value)), None)}
    found["loss flat"] = _flat(loss)
    found["gradient explodes"] = _streak([(step, value > EXPLODING) for step, value in norm])
    found["gradient vanishes"] = _streak([(step, value < VANISHING) for step, value in norm])
    return {name: step for name, step in found.items() if step is not None}


def _flat(loss: list[tuple[int, float]]) -> int | None:
    """Return the last step where the second half has brought nothing, by time and not by number of windows."""
    finite = [(step, value) for step, value in loss if math.isfinite(value)]
    if len(finite) < 8:
        return None
    end = finite[-1][0]
    second = [value for step, value in finite if end / 4 <= step < end / 2]
    last = [value for step, value in finite if step >= 3 * end / 4]
    return end if second and last and median(last) >= median(second) else None


def _streak(states: list[tuple[int, bool]]) -> int | None:
    recent = states[_WARMUP:]
    triples = zip(recent, recent[1:], recent[2:], strict=False)
    return next((third[0] for first, second, third in triples if first[1] and second[1] and third[1]), None)
