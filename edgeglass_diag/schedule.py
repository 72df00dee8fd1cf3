"""Schedule of recorded windows: a pure function of the step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule that is dense at the start, then log-spaced, then regular.

    It records the steps 0 to ``dense``, then steps about 10 % apart while that is less than ``every``, and every
    ``every``-th step.

    Args:
        every: regular distance between recorded windows in optimizer steps, at least 1.
        dense: last step of the dense start, at least 0.
        last: the last step of the training, which is recorded as well; None where it is not known.
        first: step at which a run that goes on begins anew to be dense; 0 for a new run.

    Raises:
        ValueError: for an ``every`` below 1 or a negative ``dense``.

    Example:
        >>> [step for step in range(45) if Schedule()(step)]
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 23, 26, 29, 30, 32, 36, 40]
    """

    every: int = 10
    dense: int = 10
    last: int | None = None
    first: int = 0

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every must be at least 1, got {self.every}")
        if self.dense < 0:
            raise ValueError(f"dense must not be negative, got {self.dense}")

    def __call__(self, step: int) -> bool:
        """Return whether the window that begins at ``step`` is recorded."""
        is_dense = step - self.first <= self.dense
        return is_dense or step % self.every == 0 or step == self.last or self._log_spaced(step)

    def _log_spaced(self, step: int) -> bool:
        mark = self.dense
        while mark < step and mark // 10 + 1 < self.every:
            mark += mark // 10 + 1
        return mark == step
