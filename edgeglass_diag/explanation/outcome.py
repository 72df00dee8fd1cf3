"""Outcome of a replay in numbers, and the threshold above which it counts as failing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from edgeglass_diag.signals.losses import LOSS_ACCURACY, LOSS_CANDIDATES, LOSS_CHANCE, LOSS_ROWS, LOSS_TOTAL

if TYPE_CHECKING:
    from edgeglass_diag.signals.signal import Signal
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
        accuracy_bound: the most that guessing reaches in these windows, a fraction; NaN if unknown.
        steps: optimizer steps that were taken.
        codes: codes of findings of severity warning or critical.
        folder: run folder of the replay.
    """

    loss: float
    accuracy: float = math.nan
    steps: int = 0
    codes: tuple[str, ...] = ()
    folder: str = ""
    accuracy_bound: float = math.nan

    @property
    def guesses(self) -> bool:
        """Whether its answers are no better than chance, whatever the loss is."""
        return self.accuracy <= self.accuracy_bound

    def learns(self, headline: str | None = None) -> bool:
        """Return whether the loss is finite, answers are better than chance where known, and a finding is gone."""
        return math.isfinite(self.loss) and not self.guesses and headline not in self.codes


def measure(run: Run) -> Outcome:
    """Return the outcome of a recorded replay; a loss without known chance level is relative to its first value."""
    total = {r.step: r.values[0] for _, r in run.readings(LOSS_TOTAL, site="")}
    chance = {r.step: r.values[0] for _, r in run.readings(LOSS_CHANCE, site="")}
    first = next(iter(total.values()), math.nan)
    relative = [(value - level) / abs(level) for step, value in total.items() if (level := chance.get(step, first))]
    accuracy = _tail(_means(run, LOSS_ACCURACY))
    codes = tuple(dict.fromkeys(f.code for f in run.findings if f.severity.rank > 0))
    loss = _tail(relative)
    return Outcome(
        loss if math.isfinite(loss) else math.inf, accuracy, run.last_step + 1, codes, str(run.folder), _bound(run)
    )


def _bound(run: Run) -> float:
    """Return the most that guessing reaches over the tail: p + 3 sqrt(p (1 - p) / n), with p = 1 / candidates.

    Each of the n rows of the tail is a guess of its own; three standard deviations are passed once in 740 times.
    """
    candidates, rows = _means(run, LOSS_CANDIDATES), _means(run, LOSS_ROWS)
    count, p = _tail(rows) * _tail_length(rows), 1 / _tail(candidates) if candidates else math.nan
    return p + 3 * math.sqrt(p * (1 - p) / count) if count > 0 and 0 < p < 1 else math.nan


def _means(run: Run, signal: Signal) -> list[float]:
    """Return the mean of a signal over the losses of each window, in their order."""
    by_step: dict[int, list[float]] = {}
    for _, reading in run.readings(signal):
        by_step.setdefault(reading.step, []).append(reading.values[0])
    return [fmean(values) for _, values in sorted(by_step.items())]


def _tail_length(values: Sequence[float]) -> int:
    return max(1, math.ceil(len(values) * _TAIL_SHARE))


def _tail(values: Sequence[float]) -> float:
    kept = values[-_tail_length(values) :]
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
    def between(
        cls, failing: Sequence[Outcome], healthy: Sequence[Outcome], *, noise: float = 0.0
    ) -> OutcomeThreshold | None:
        """Return the threshold between failing and healthy replays; None if they are not separated.

        They are not if the gap is smaller than the spread over seeds within either, than 0.05 of the chance level, or
        than ``noise``, by which equal replays differ.
        """
        low, high = [o.loss for o in healthy], [min(o.loss, 0.0) for o in failing]
        gap = min(high) - max(low)
        if not all(map(math.isfinite, low)) or gap <= max(MIN_LOSS_GAP, noise, _spread(low), _spread(high)):
            return None
        return cls(max(low) + gap / 2)

    @staticmethod
    def differ(failing: Sequence[Outcome], others: Sequence[Outcome], *, noise: float = 0.0) -> bool:
        """Return whether the best other replay is better than the best failing one, by more than seeds and noise."""
        high = [min(outcome.loss, 0.0) for outcome in failing]
        return min(high) - min(outcome.loss for outcome in others) > max(MIN_LOSS_GAP, noise, _spread(high))

    def is_failing(self, outcome: Outcome) -> bool:
        """Return whether the loss of a replay is not below the threshold; true for NaN."""
        return not outcome.loss < self.loss


def _spread(losses: Sequence[float]) -> float:
    return max(losses) - min(losses)
