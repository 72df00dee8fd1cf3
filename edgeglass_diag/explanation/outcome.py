"""Outcome of a replay in numbers, and the threshold above which it counts as failing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from edgeglass_diag.signals.losses import LOSS_ACCURACY, LOSS_CHANCE, LOSS_TOTAL

if TYPE_CHECKING:
    from edgeglass_diag.store import Run

MIN_LOSS_GAP = 0.05
"""Smallest difference of losses, relative to chance, that counts as one; also in ``compare``."""

_TAIL_SHARE = 0.25
"""Share of a replay, at its end, over which losses are averaged: single batches are noisy."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a replay.

    Attributes:
        loss: mean over the last quarter of (loss - chance) / chance: 0 is chance, -1 is perfect; infinite if the loss
            is not finite at the end.
        accuracy: mean in-batch R@1 of the same windows, a fraction; NaN if unknown.
        steps: optimizer steps that were taken.
        codes: codes of findings of severity warning or critical.
        folder: run folder of the replay.
    """

    loss: float
    accuracy: float = math.nan
    steps: int = 0
    codes: tuple[str, ...] = ()
    folder: str = ""


def measure(run: Run) -> Outcome:
    """Return the outcome of a recorded replay; a loss without known chance level is relative to its first value."""
    total = {r.step: r.values[0] for _, r in run.readings(LOSS_TOTAL, site="")}
    chance = {r.step: r.values[0] for _, r in run.readings(LOSS_CHANCE, site="")}
    first = next(iter(total.values()), math.nan)
    relative = [(value - level) / abs(level) for step, value in total.items() if (level := chance.get(step, first))]
    accuracies: dict[int, list[float]] = {}
    for _, reading in run.readings(LOSS_ACCURACY):
        accuracies.setdefault(reading.step, []).append(reading.values[0])
    by_step = [fmean(values) for _, values in sorted(accuracies.items())]
    codes = tuple(dict.fromkeys(f.code for f in run.findings if f.severity.rank > 0))
    loss = _tail(relative)
    return Outcome(loss if math.isfinite(loss) else math.inf, _tail(by_step), run.last_step + 1, codes, str(run.folder))


def _tail(values: Sequence[float]) -> float:
    kept = values[-max(1, math.ceil(len(values) * _TAIL_SHARE)) :]
    return fmean(kept) if kept else math.nan


@dataclass(frozen=True, slots=True)
class OutcomeThreshold:
    """Loss between failing and healthy: the middle between the worst healthy loss and the best failing one.

    The middle is not tuned: a replay belongs to the side that is nearer.

    Attributes:
        loss: relative to chance, as in ``Outcome``.
    """

    loss: float

    @classmethod
    def between(cls, failing: Sequence[Outcome], healthy: Sequence[Outcome]) -> OutcomeThreshold | None:
        """Return the threshold between failing and healthy replays; None if they are not separated.

        They are not if the gap is smaller than the spread over seeds within either, or than 0.05 of the chance level.
        """
        low, high = [o.loss for o in healthy], [min(o.loss, 0.0) for o in failing]
        gap = min(high) - max(low)
        if not all(map(math.isfinite, low)) or gap <= max(MIN_LOSS_GAP, max(low) - min(low), max(high) - min(high)):
            return None
        return cls(max(low) + gap / 2)

    def is_failing(self, outcome: Outcome) -> bool:
        """Return whether the loss of a replay is not below the threshold; true for NaN."""
        return not outcome.loss < self.loss
