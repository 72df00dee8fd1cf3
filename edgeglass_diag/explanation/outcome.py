"""The outcome of a replay in numbers, and the border above which it counts as failing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeglass_diag.store import Run

LEAST = 0.05
"""Losses that differ by less, as shares of chance, are not called different; ``compare`` says the same."""

_TAIL = 0.25
"""Share of a replay at its end over which losses are averaged: single batches are noisy."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a replay came to.

    Attributes:
        loss: mean over the last quarter of (loss - chance) / chance: 0 tells nothing apart, -1 is perfect; infinite
            where the loss was not finite at the end.
        accuracy: mean in-batch R@1 of the same windows, a fraction; NaN where it is not known.
        steps: optimizer steps that were taken.
        codes: findings of warning and above.
        folder: where the replay lies as a run.
    """

    loss: float
    accuracy: float = math.nan
    steps: int = 0
    codes: tuple[str, ...] = ()
    folder: str = ""


def measure(run: Run) -> Outcome:
    """Return the outcome of a recorded replay; a loss of unknown chance level is taken relative to its first value."""
    total = {r.step: r.values[0] for _, r in run.readings("loss/total", site="")}
    chance = {r.step: r.values[0] for _, r in run.readings("loss/chance", site="")}
    first = next(iter(total.values()), math.nan)
    relative = [(value - level) / abs(level) for step, value in total.items() if (level := chance.get(step, first))]
    accuracies: dict[int, list[float]] = {}
    for _, reading in run.readings("loss/accuracy"):
        accuracies.setdefault(reading.step, []).append(reading.values[0])
    found = [fmean(values) for _, values in sorted(accuracies.items())]
    codes = tuple(dict.fromkeys(f.code for f in run.findings if f.severity.rank > 0))
    loss = _tail(relative)
    return Outcome(loss if math.isfinite(loss) else math.inf, _tail(found), run.last_step + 1, codes, str(run.folder))


def _tail(values: Sequence[float]) -> float:
    kept = values[-max(1, math.ceil(len(values) * _TAIL)) :]
    return fmean(kept) if kept else math.nan


@dataclass(frozen=True, slots=True)
class OutcomeThreshold:
    """Between ill and healthy: half of the way from the worst healthy loss to the best ill one.

    The half is no tuned number: a replay counts to the side that it is nearer to.
    """

    loss: float

    @classmethod
    def between(cls, ill: Sequence[Outcome], healthy: Sequence[Outcome]) -> OutcomeThreshold | None:
        """Return the threshold, None if the outcomes overlap too much for one.

        So it is where the gap between the two is smaller than what seeds alone make within one of them, or than
        0.05 of the chance level.
        """
        low, high = [o.loss for o in healthy], [min(o.loss, 0.0) for o in ill]
        gap = min(high) - max(low)
        if not all(map(math.isfinite, low)) or gap <= max(LEAST, max(low) - min(low), max(high) - min(high)):
            return None
        return cls(max(low) + gap / 2)

    def is_ill(self, outcome: Outcome) -> bool:
        """Return whether a replay counts as failing."""
        return not outcome.loss < self.loss
