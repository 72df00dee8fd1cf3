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
from edgeglass_diag.rules.packed import Rows, Steps
from edgeglass_diag.thinning import MOST

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

    Args:
        rows: values of its signal, of which it takes a row; its own if left out.
        steps: those of the series that began with it; its own if left out.

    >>> series = Series()
    >>> for step, value in enumerate([3.0, 1.0, 1.0]):
    ...     series.append(step, value)
    >>> series.streak(lambda _, value: value < 2)
    Streak(since=1, windows=2, span=1)
    """

    __slots__ = ("_count", "_latest", "_row", "_rows", "_steps", "_streaks")

    def __init__(self, rows: Rows | None = None, steps: Steps | None = None) -> None:
        self._rows = Rows() if rows is None else rows
        self._row = self._rows.new()
        self._steps = Steps() if steps is None else steps
        self._count = 0
        self._streaks: dict[Hashable, tuple[int, int, int, int]] = {}
        self._latest: dict[Hashable, tuple[int, int | None]] = {}

    def add(self, reading: Reading) -> None:
        """Append a reading."""
        values = reading.values
        self.append(reading.step, values[0] if len(values) == 1 else sum(values) / len(values))

    def append(self, step: int, value: float) -> None:
        """Append a value; one of the newest step takes its place."""
        count = self._count
        if count and self._steps.recorded[count - 1] == step:
            self._rows.put(self._row, count - 1, value)
            return
        self._steps = self._steps.joined(count, step)
        self._rows.put(self._row, count, value)
        self._count = count + 1
        if self._count >= MOST:
            self._thin()

    def __len__(self) -> int:
        return self._count

    @property
    def steps(self) -> array[int]:
        """The steps, rising; not to be changed."""
        if len(self._steps.recorded) != self._count:  # others of its signal went on without it
            self._steps = self._steps.parted(self._count)
        return self._steps.recorded

    @property
    def values(self) -> array[float]:
        """A copy of the values, one for each step."""
        return self._rows.part(self._row, 0, self._count)

    @property
    def first(self) -> float:
        """The first value."""
        return self.value(0)

    @property
    def last(self) -> float:
        """The newest value."""
        return self.value(self._count - 1)

    @property
    def last_step(self) -> int:
        """The newest step."""
        return self.steps[-1]

    def at(self, step: int) -> float:
        """Return the value at exactly this step, NaN where it was not recorded."""
        index = bisect_left(self.steps, step)
        found = index < self._count and self.steps[index] == step
        return self.value(index) if found else math.nan

    def since(self, step: int) -> list[tuple[int, float]]:
        """Return the readings from a step on as (step, value)."""
        first = bisect_left(self.steps, step)
        return list(zip(self.steps[first:], self._rows.part(self._row, first, self._count), strict=True))

    def newest(self, count: int) -> list[tuple[int, float]]:
        """Return the newest ``count`` readings as (step, value)."""
        return list(zip(self.steps[-count:], self.values[-count:], strict=True))

    def value(self, index: int) -> float:
        """Return the value at an index; raise ``IndexError`` where there is none."""
        if not 0 <= index < self._count:
            raise IndexError("array index out of range")
        return self._rows.at(self._row, index)

    def streak(self, condition: Callable[[int, float], bool]) -> Streak | None:
        """Return since when ``condition(step, value)`` holds without a break; None where it does not hold now.

        What was found is remembered from window to window, by the text of the condition and what it captures, so that
        a condition must be a function whose captured values are hashable and whose answer for a reading never changes.
        """
        count, steps = self._count, self.steps
        if not count or not condition(steps[-1], self.last):
            return None
        key = _identity(condition)
        # The condition holds from begin to seen, exclusive, since a step that may be thinned out, as others between.
        seen, begin, since, thinned = self._streaks.pop(key, (0, 0, steps[0], 0))
        first = count - 1
        while first > seen and condition(steps[first - 1], self.value(first - 1)):
            first -= 1
        first, since, thinned = (begin, since, thinned) if first <= seen else (first, steps[first], 0)
        self._remember(key, (count - 1, first, since, thinned))  # the newest value may yet be replaced
        return Streak(since, count - first + thinned, steps[-1] - since)

    def _thin(self) -> None:
        """Leave out readings between the first and the newest ones, but for those that a question found last."""
        found = {newest for _, newest in self._latest.values() if newest is not None}
        self._steps = self._steps.parted(self._count).thinned(tuple(sorted(found)))
        kept = self._steps.kept
        self._rows.keep(self._row, kept)
        self._count = len(kept)

        def moved(index: int) -> int:
            return bisect_left(kept, index)

        for key, (seen, begin, since, thinned) in self._streaks.items():
            gone = seen - begin - (moved(seen) - moved(begin))
            self._streaks[key] = moved(seen), moved(begin), since, thinned + gone
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
