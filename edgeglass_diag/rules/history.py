"""What has been recorded so far, as series by signal and site. Grows window by window."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from edgeglass_diag.records import ParameterOrigin, Reading, Site, Window


@dataclass(slots=True)
class Series:
    """Readings of one signal at one site: ``steps`` rising, ``values`` averaged over the components."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, reading: Reading) -> None:
        """Append a reading."""
        self.steps.append(reading.step)
        self.values.append(sum(reading.values) / len(reading.values))

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def last(self) -> float:
        """The newest value."""
        return self.values[-1]

    def at(self, step: int) -> float:
        """Value at exactly this step, NaN where it was not recorded."""
        from bisect import bisect_left

        index = bisect_left(self.steps, step)
        found = index < len(self.steps) and self.steps[index] == step
        return self.values[index] if found else math.nan


@dataclass(frozen=True, slots=True)
class Held:
    """A condition that holds up to now: since which step, over how many windows and steps."""

    since: int
    windows: int
    span: int

    def lasting(self, *, steps: int, windows: int) -> bool:
        """Whether it has held for at least so many steps and windows."""
        return self.span >= steps and self.windows >= windows


class History:
    """All that the rules may look at."""

    def __init__(self) -> None:
        self._series: defaultdict[str, dict[str, Series]] = defaultdict(dict)
        self.sites: dict[tuple[str, str], Site] = {}
        self.origins: list[ParameterOrigin] = []
        self.last_step = -1

    def add(self, window: Window) -> None:
        """Append a window."""
        self.last_step = max(self.last_step, window.step)
        for reading in window.readings:
            self._series[reading.signal].setdefault(reading.site, Series()).add(reading)
        for site in window.sites:
            self.sites[site.path, site.kind] = site
        self.origins.extend(window.origins)

    def series(self, signal: str, site: str = "") -> Series:
        """One series, empty where nothing was recorded."""
        return self._series.get(signal, {}).get(site, Series())

    def of(self, signal: str) -> Iterator[tuple[str, Series]]:
        """All sites of a signal with their series, in order of first appearance."""
        yield from self._series.get(signal, {}).items()

    def signals(self, prefix: str) -> list[str]:
        """Names of the recorded signals that begin with ``prefix``."""
        return [name for name in self._series if name.startswith(prefix)]


def held(series: Series, condition: Callable[[int, float], bool]) -> Held | None:
    """Since when ``condition(step, value)`` holds without a break up to the newest reading; None if it does not."""
    count = 0
    for step, value in zip(reversed(series.steps), reversed(series.values), strict=True):
        if not condition(step, value):
            break
        count += 1
    if not count:
        return None
    since = series.steps[-count]
    return Held(since, count, series.steps[-1] - since)
