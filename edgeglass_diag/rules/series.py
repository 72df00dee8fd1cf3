"""The readings of one signal at one site, and how long a condition has held of them."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import FunctionType
from typing import cast

from edgeglass_diag.records import Reading
from edgeglass_diag.thinning import MOST, kept_indices

_REMEMBERED = 32


@dataclass(frozen=True, slots=True)
class Streak:
    """A condition that holds up to the newest reading.

    Attributes:
        since: step from which on it holds.
        windows: number of readings.
        span: optimizer steps from the first to the newest of them.
    """

    since: int
    windows: int
    span: int

    def lasting(self, *, steps: int, windows: int) -> bool:
        """Return whether it has held for at least so many steps and windows."""
        return self.span >= steps and self.windows >= windows


class Series:
    """Readings of one signal at one site: ``steps`` rising, ``values`` averaged over the components.

    Of a long series the first and the newest are kept, and of those between some, evenly by step (``kept_indices``): a
    training of any length takes the same memory, and to judge a window the same time.

    >>> series = Series()
    >>> for step, value in enumerate([3.0, 1.0, 1.0]):
    ...     series.append(step, value)
    >>> series.streak(lambda _, value: value < 2)
    Streak(since=1, windows=2, span=1)
    """

    __slots__ = ("_latest", "_streaks", "steps", "values")

    def __init__(self) -> None:
        self.steps: array[int] = array("q")
        self.values: array[float] = array("d")
        self._streaks: dict[Hashable, tuple[int, int, int, int]] = {}
        self._latest: dict[Hashable, tuple[int, int | None]] = {}

    def add(self, reading: Reading) -> None:
        """Append a reading."""
        values = reading.values
        self.append(reading.step, values[0] if len(values) == 1 else sum(values) / len(values))

    def append(self, step: int, value: float) -> None:
        """Append a value; one of the newest step takes its place."""
        if self.steps and self.steps[-1] == step:
            self.values[-1] = value
            return
        self.steps.append(step)
        self.values.append(value)
        if len(self.steps) >= MOST:
            self._thin()

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def last(self) -> float:
        """The newest value."""
        return self.values[-1]

    def at(self, step: int) -> float:
        """Return the value at exactly this step, NaN where it was not recorded."""
        index = bisect_left(self.steps, step)
        found = index < len(self.steps) and self.steps[index] == step
        return self.values[index] if found else math.nan

    def since(self, step: int) -> list[tuple[int, float]]:
        """Return the readings from a step on as (step, value)."""
        first = bisect_left(self.steps, step)
        return list(zip(self.steps[first:], self.values[first:], strict=True))

    def newest(self, count: int) -> list[tuple[int, float]]:
        """Return the newest ``count`` readings as (step, value)."""
        return list(zip(self.steps[-count:], self.values[-count:], strict=True))

    def streak(self, condition: Callable[[int, float], bool]) -> Streak | None:
        """Return since when ``condition(step, value)`` holds without a break; None where it does not hold now.

        What was found is remembered from window to window, by the text of the condition and what it captures, so that
        a condition must be a function whose captured values are hashable and whose answer for a reading never changes.
        """
        count = len(self.steps)
        if not count or not condition(self.steps[-1], self.values[-1]):
            return None
        key = _identity(condition)
        # The condition holds from begin to seen, exclusive, since a step that may be thinned out, as others between.
        seen, begin, since, thinned = self._streaks.pop(key, (0, 0, self.steps[0], 0))
        first = count - 1
        while first > seen and condition(self.steps[first - 1], self.values[first - 1]):
            first -= 1
        first, since, thinned = (begin, since, thinned) if first <= seen else (first, self.steps[first], 0)
        self._remember(key, (count - 1, first, since, thinned))  # the newest value may yet be replaced
        return Streak(since, count - first + thinned, self.steps[-1] - since)

    def _thin(self) -> None:
        """Leave out readings between the first and the newest ones, but for those that a question found last."""
        found = {newest for _, newest in self._latest.values() if newest is not None}
        kept = sorted({*kept_indices(self.steps), *found})
        self.steps = array("q", (self.steps[index] for index in kept))
        self.values = array("d", (self.values[index] for index in kept))

        def moved(index: int) -> int:
            return bisect_left(kept, index)

        for key, (seen, begin, since, thinned) in self._streaks.items():
            left = moved(seen) - moved(begin)
            self._streaks[key] = moved(seen), moved(begin), since, thinned + seen - begin - left
        for key, (settled, newest) in self._latest.items():
            self._latest[key] = moved(settled), None if newest is None else moved(newest)

    def _remember(self, key: Hashable, found: tuple[int, int, int, int]) -> None:
        self._streaks[key] = found
        if len(self._streaks) > _REMEMBERED:  # conditions that capture what changes, as a logit scale
            del self._streaks[next(iter(self._streaks))]

    def latest(self, holds: Callable[[int], bool]) -> int | None:
        """Return the newest index at which ``holds(index)``.

        Each but the newest is asked once, so that the answer for an old one must not change.
        """
        key = _identity(holds)
        seen, newest = self._latest.get(key, (0, None))
        found = next((index for index in range(len(self) - 1, seen - 1, -1) if holds(index)), newest)
        if not len(self):
            return None
        settled = len(self) - 1  # the newest value may yet be replaced
        self._latest[key] = (settled, found if found is None or found < settled else newest)
        return found


EMPTY = Series()
"""What stands for a series of which nothing was recorded; nothing is appended to it."""


def _identity(condition: Callable[..., bool]) -> Hashable:
    """Return what two conditions share exactly if they ask the same: their text, and the values that they capture."""
    function = cast(FunctionType, condition)
    captured = tuple(cell.cell_contents for cell in function.__closure__ or ())
    return function.__module__, function.__qualname__, function.__code__, function.__defaults__, captured
