"""What has been recorded so far, as series by signal and site. Grows window by window."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median

from edgeglass_diag.records import ParameterOrigin, Reading, Site, Window


@dataclass(slots=True)
class Series:
    """Readings of one signal at one site: ``steps`` rising, ``values`` averaged over the components."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

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

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def last(self) -> float:
        """The newest value."""
        return self.values[-1]

    def at(self, step: int) -> float:
        """Value at exactly this step, NaN where it was not recorded."""
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
    """All that the rules may look at. Series that several rules need are derived once, window by window.

    Attributes:
        relative_loss: (whole loss - its chance level) / chance level, where the known losses explain the whole.
        updates: median over the weight matrices of |delta w| / |w|; see ``weight_matrices`` in learning.
        logit_spread: largest std within a row of logits over all losses.
        roots: square root of the number of entries of each parameter with two or more dimensions above one.
        ended: whether the training has come to its own end, so that no window follows.
    """

    def __init__(self) -> None:
        self.relative_loss, self.updates, self.logit_spread = Series(), Series(), Series()
        self._cumulated: list[float] = []
        self._series: defaultdict[str, dict[str, Series]] = defaultdict(dict)
        self._streaks: dict[tuple[object, ...], tuple[int, int | None]] = {}
        self._latest: dict[tuple[object, ...], tuple[int, int | None]] = {}
        self._answered: list[int] = []
        self._sums: list[tuple[float, float, float]] = []
        self.ended = False
        self.sites: dict[tuple[str, str], Site] = {}
        self.origins: list[ParameterOrigin] = []
        self.roots: dict[str, float] = {}
        self.last_step = -1

    def add(self, window: Window) -> None:
        """Append a window."""
        self.last_step = max(self.last_step, window.step)
        for reading in window.readings:
            sites = self._series[reading.signal]
            if reading.site not in sites:
                sites[reading.site] = Series()
            sites[reading.site].add(reading)
        self._derive(window.step)
        for site in window.sites:
            self.sites[site.path, site.kind] = site
        self.origins.extend(window.origins)
        for origin in window.origins:
            if sum(size > 1 for size in origin.shape) > 1:
                self.roots[origin.name] = math.sqrt(math.prod(origin.shape))

    def cumulated_update(self, since: int) -> float:
        """Sum over steps of the median relative update from ``since`` on, between recorded windows interpolated."""
        first = bisect_left(self.updates.steps, since)
        if first == len(self.updates):
            return 0.0
        before = self._cumulated[first - 1] if first else 0.0
        reach = self.updates.steps[first - 1] if first else -1
        # The first window's value stands for the steps since the one before it, of which some are before `since`.
        surplus = max(0, since - 1 - reach) * self.updates.values[first]
        return self._cumulated[-1] - before - surplus

    def _derive(self, step: int) -> None:
        now = {signal: self._at(signal, step) for signal in ("loss/total", "loss/chance", "loss/explained")}
        total, chance, explained = (values.get("", math.nan) for values in now.values())
        if chance > 0 and abs(explained - total) <= 0.01 * abs(chance):
            self.relative_loss.append(step, (total - chance) / chance)
        self._count_answers(step)
        spread = self._at("loss/logit_std", step)
        if spread:
            self.logit_spread.append(step, max(spread.values()))
        rows = self._series.get("weight/row_signal", {})
        ratios = self._at("update/ratio", step)
        matrices = [v for site, v in ratios.items() if site in rows and math.isfinite(v) and self.started(site)]
        if matrices:
            value = median(matrices)
            reach = self.updates.steps[-1] if len(self.updates) else -1
            self._cumulated.append((self._cumulated[-1] if self._cumulated else 0.0) + value * (step - reach))
            self.updates.append(step, value)

    def answers(self, since: int) -> tuple[float, float, float]:
        """Hits, answers, and hits expected of guessing, over all losses and recorded windows from ``since`` on."""
        first = bisect_left(self._answered, since)
        if not self._sums or first >= len(self._sums):
            return 0.0, 0.0, 0.0
        before = self._sums[first - 1] if first else (0.0, 0.0, 0.0)
        hits, answers, expected = (last - earlier for last, earlier in zip(self._sums[-1], before, strict=True))
        return hits, answers, expected

    def _count_answers(self, step: int) -> None:
        if self._answered and self._answered[-1] == step:
            return  # metrics that came after their window bring no answers
        rows, candidates = self._at("loss/rows", step), self._at("loss/candidates", step)
        hits = answers = expected = 0.0
        for site, accuracy in self._at("loss/accuracy", step).items():
            number, among = rows.get(site, 0.0), candidates.get(site, 0.0)
            if among >= 1 and math.isfinite(accuracy):  # none is left of logits that are NaN
                hits, answers, expected = hits + accuracy * number, answers + number, expected + number / among
        if answers:
            before = self._sums[-1] if self._sums else (0.0, 0.0, 0.0)
            self._answered.append(step)
            self._sums.append((before[0] + hits, before[1] + answers, before[2] + expected))

    def streak(self, key: tuple[object, ...], series: Series, condition: Callable[[int, float], bool]) -> Held | None:
        """``held``, remembered from window to window.

        Args:
            key: names the question (rule, threshold) and the site; the condition must not change under it.
            series: what is asked about.
            condition: of (step, value).
        """
        count = len(series)
        if not count:
            return None
        seen, begin = self._streaks.get(key, (0, None))
        for index in range(seen, count - 1):  # the newest value may yet be replaced
            holds = condition(series.steps[index], series.values[index])
            begin = (index if begin is None else begin) if holds else None
        self._streaks[key] = (count - 1, begin)
        if not condition(series.steps[-1], series.last):
            return None
        first = count - 1 if begin is None else begin
        return Held(series.steps[first], count - first, series.steps[-1] - series.steps[first])

    def latest(self, key: tuple[object, ...], count: int, holds: Callable[[int], bool]) -> int | None:
        """Newest index below ``count`` at which ``holds``; each index is asked once, so that old ones must not change.

        Args:
            key: names the question.
            count: how many there are.
            holds: of an index.
        """
        seen, newest = self._latest.get(key, (0, None))
        newest = next((index for index in range(count - 1, seen - 1, -1) if holds(index)), newest)
        self._latest[key] = (count, newest)
        return newest

    def started(self, site: str) -> bool:
        """Whether a parameter did not begin at (nearly) zero, where any update is large beside it.

        That is, its entries had at first a size of 1e-3, a tenth of the smallest usual standard deviation, or its norm
        at least a fiftieth of what it is now.
        """
        sizes = self.series("weight/norm", site)
        if not len(sizes):
            return False
        return sizes.values[0] > min(0.02 * sizes.last, 1e-3 * self.roots.get(site, math.inf))

    def _at(self, signal: str, step: int) -> dict[str, float]:
        """Values of a signal by site, if its newest reading is of this step."""
        return {site: series.last for site, series in self._series.get(signal, {}).items() if series.steps[-1] == step}

    def series(self, signal: str, site: str = "") -> Series:
        """One series, empty where nothing was recorded."""
        found = self._series.get(signal, {}).get(site)
        return Series() if found is None else found

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
