"""Schedule of recorded windows: a pure function of the step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

USUAL, LONGEST = 10, 160
"""Distance of windows where none is asked for, and to which it grows with the length of the run."""

_APART = 100
"""Windows lie at most a hundredth of the step apart before their distance is doubled: what a run costs grows with the
logarithm of its length, and a fault is met within two hundredths of the run so far."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule that is dense at the start, then log-spaced, then regular.

    It records the steps 0 to ``dense``, then steps about 10 % apart while that is less than ``every``, and every
    ``every``-th step. With ``longest`` that distance is doubled, up to it, each time it is a hundredth of the step.

    Args:
        every: regular distance between recorded windows in optimizer steps, at least 1.
        dense: last step of the dense start, at least 0.
        last: the last step of the training, which is recorded as well; None where it is not known.
        longest: distance that is not exceeded, at least ``every``; None where it does not grow.
        first: step at which a run that goes on begins anew to be dense; 0 for a new run.

    Raises:
        ValueError: for an ``every`` below 1, a negative ``dense``, or a ``longest`` below ``every``.

    Example:
        >>> [step for step in range(45) if Schedule()(step)]
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 23, 26, 29, 30, 32, 36, 40]
        >>> [step for step in range(970, 1070) if Schedule(longest=160)(step)]
        [970, 980, 990, 1000, 1020, 1040, 1060]
    """

    every: int = USUAL
    dense: int = 10
    last: int | None = None
    longest: int | None = None
    first: int = 0

    @classmethod
    def of(cls, every: int | None, *, last: int | None = None, first: int = 0) -> Schedule:
        """Return the schedule of a run: regular where a distance is asked for, else one that grows with the run.

        It depends on the step alone, so that all ranks, and two runs that are compared, record the same windows.
        """
        if every is None:
            return cls(last=last, longest=LONGEST, first=first)
        return cls(every, last=last, first=first)

    @property
    def facts(self) -> dict[str, int]:
        """Return what the header of a run says of it."""
        return {"every": self.every} | ({} if self.longest is None else {"longest": self.longest})

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every must be at least 1, got {self.every}")
        if self.dense < 0:
            raise ValueError(f"dense must not be negative, got {self.dense}")
        if self.longest is not None and self.longest < self.every:
            raise ValueError(f"longest must be at least every ({self.every}), got {self.longest}")

    def __call__(self, step: int) -> bool:
        """Return whether the window that begins at ``step`` is recorded."""
        if step - self.first <= self.dense or step == self.last:
            return True
        if step % self.every:  # as most are: asked twice for each step of the training
            return step in _marks(self.dense, self.every)
        return step % self._distance(step) == 0

    def _distance(self, step: int) -> int:
        distance, longest = self.every, self.longest or self.every
        while 2 * distance <= longest and step >= _APART * distance:
            distance *= 2
        return distance


@lru_cache
def _marks(dense: int, every: int) -> frozenset[int]:
    """Return the steps behind the dense ones that are about 10 % apart."""
    marks, mark = set(), dense
    while mark // 10 + 1 < every:
        mark += mark // 10 + 1
        marks.add(mark)
    return frozenset(marks)
