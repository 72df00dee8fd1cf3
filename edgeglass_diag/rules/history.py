"""What has been recorded so far, as series by signal and site. Grows window by window."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from statistics import median
from typing import TypeVar, cast

from edgeglass_diag.records import Cut, ParameterOrigin, Site, Window
from edgeglass_diag.rules.packed import Rows, Steps
from edgeglass_diag.rules.series import EMPTY, Series
from edgeglass_diag.signals.attention import OPERAND_KEYS
from edgeglass_diag.signals.losses import (
    LOSS_ACCURACY,
    LOSS_CANDIDATES,
    LOSS_CHANCE,
    LOSS_EXPLAINED,
    LOSS_LARGEST_LABEL,
    LOSS_LOGIT_STD,
    LOSS_ROWS,
    LOSS_TOTAL,
)
from edgeglass_diag.signals.parameters import (
    OPTIMIZER_BEGUN,
    STANDING_OPTIMIZER,
    UPDATE_RATIO,
    WEIGHT_NORM,
    WEIGHT_ROW_SIGNAL,
)
from edgeglass_diag.signals.signal import Signal
from edgeglass_diag.thinning import MOST, kept_indices

S = TypeVar("S", bound=Site)
R = TypeVar("R")


class History:
    """All that the rules may look at. Series that several rules need are derived once, window by window.

    Args:
        rules: the rules as configured, for those that ask another one's question.

    Attributes:
        relative_loss: (whole loss - its chance level) / chance level, where the known losses explain the whole.
        updates: median over the weight matrices of |delta w| / |w|; see ``weight_matrices`` in training_state.
        logit_spread: largest std within a row of logits over all losses.
        roots: square root of the number of entries of each parameter with two or more dimensions above one.
        ended: whether the training has come to its own end, so that no window follows.
        cuts: where the program was started again and the run went on, by rising step.
        early_until: the step before which a verdict that nothing is learned is early (``patience``).
    """

    def __init__(self, rules: Iterable[object] = ()) -> None:
        self._rules = {type(rule): rule for rule in rules}
        self.relative_loss, self.updates, self.logit_spread = Series(), Series(), Series()
        self._cumulated = Series()
        self._series: defaultdict[Signal, dict[str, Series]] = defaultdict(dict)
        self._rows: defaultdict[Signal, Rows] = defaultdict(Rows)
        self._sites: defaultdict[type[Site], dict[str, Site]] = defaultdict(dict)
        self._answered: list[int] = []
        self._sums: list[tuple[float, float, float]] = []
        self.ended = False
        self.cuts: tuple[Cut, ...] = ()
        self.early_until = 0
        self.origins: list[ParameterOrigin] = []
        self.roots: dict[str, float] = {}
        self.last_step = -1

    def add(self, window: Window) -> None:
        """Append a window."""
        self.last_step = max(self.last_step, window.step)
        begun: defaultdict[Signal, Steps] = defaultdict(Steps)
        for reading in window.readings:
            sites = self._series[reading.signal]
            series = sites.get(reading.site)
            if series is None:
                series = sites[reading.site] = Series(self._rows[reading.signal], begun[reading.signal])
            series.add(reading)
        self._derive(window.step)
        for site in window.sites:
            self._sites[type(site)][site.path] = site
        self.origins.extend(window.origins)
        for origin in window.origins:
            if sum(size > 1 for size in origin.shape) > 1:
                self.roots[origin.name] = math.sqrt(math.prod(origin.shape))

    def rule(self, kind: type[R]) -> R:
        """Return the rule of this class as configured, with its defaults where it is not selected."""
        return cast(R, self._rules.get(kind)) or kind()

    @property
    def is_inspection(self) -> bool:
        """Whether this is what an inspection before the first step records: operands, and how parameters stand."""
        return OPERAND_KEYS in self._series or STANDING_OPTIMIZER in self._series

    def series(self, signal: Signal, site: str = "") -> Series:
        """Return one series, empty where nothing was recorded."""
        return self._series.get(signal, {}).get(site, EMPTY)

    def of(self, signal: Signal) -> Iterator[tuple[str, Series]]:
        """Yield the paths of all sites of a signal with their series, in order of first appearance."""
        yield from self._series.get(signal, {}).items()

    def at(self, kind: type[S], signal: Signal) -> Iterator[tuple[S, Series]]:
        """Yield all sites of a signal with their series, in order of first appearance.

        A site whose description was lost with a window is left out until it is described again.
        """
        known = self._sites[kind]
        for path, series in self._series.get(signal, {}).items():
            if path in known:
                yield cast(S, known[path]), series

    def has(self, signal: Signal) -> bool:
        """Return whether a signal was recorded anywhere."""
        return signal in self._series

    def signals(self, family: str) -> list[Signal]:
        """Return the recorded signals of a family."""
        return [signal for signal in self._series if signal.family == family]

    def site(self, kind: type[S], path: str) -> S | None:
        """Return the site of a kind with this path, None where none was seen."""
        return cast("S | None", self._sites[kind].get(path))

    def sites_of(self, kind: type[S]) -> list[S]:
        """Return all sites of a kind, in order of first appearance."""
        return cast("list[S]", list(self._sites[kind].values()))

    @property
    def begun(self) -> int:
        """Step at which the training that goes on now began: 0 of the first, and where that is not recorded."""
        begun = self.series(OPTIMIZER_BEGUN)
        return int(begun.last) if len(begun) else 0

    @property
    def goes_on_since(self) -> int:
        """Step at which the training that goes on now began, or at which its program was started again."""
        return max(self.begun, self.cuts[-1].step if self.cuts else 0)

    def cumulated_update(self, since: int) -> float:
        """Return the sum over steps of the median relative update from ``since`` on.

        Between recorded windows it is interpolated.
        """
        first = bisect_left(self.updates.steps, since)
        if first == len(self.updates):
            return 0.0
        place = bisect_left(self._cumulated.steps, since)
        before = self._cumulated.value(place - 1) if place else 0.0
        reach = self._cumulated.steps[place - 1] if place else -1
        # The first window's value stands for the steps since the one before it, of which some are before `since`.
        surplus = max(0, since - 1 - reach) * self.updates.value(first)
        return self._cumulated.last - before - surplus

    def answers(self, since: int) -> tuple[float, float, float]:
        """Return hits, answers, and hits expected of guessing, over all losses and windows from ``since`` on."""
        first = bisect_left(self._answered, since)
        if not self._sums or first >= len(self._sums):
            return 0.0, 0.0, 0.0
        before = self._sums[first - 1] if first else (0.0, 0.0, 0.0)
        hits, answers, expected = (last - earlier for last, earlier in zip(self._sums[-1], before, strict=True))
        return hits, answers, expected

    def started(self, site: str) -> bool:
        """Return whether a parameter did not begin at (nearly) zero, where any update is large compared with it.

        That is, its entries had at first a size of 1e-3, a tenth of the smallest usual standard deviation, or its norm
        at least a fiftieth of what it is now.
        """
        sizes = self.series(WEIGHT_NORM, site)
        if not len(sizes):
            return False
        return sizes.first > min(0.02 * sizes.last, 1e-3 * self.roots.get(site, math.inf))

    def _derive(self, step: int) -> None:
        now = (self._at(signal, step) for signal in (LOSS_TOTAL, LOSS_CHANCE, LOSS_EXPLAINED))
        total, chance, explained = (values.get("", math.nan) for values in now)
        if chance > 0 and abs(explained - total) <= 0.01 * abs(chance):
            self.relative_loss.append(step, (total - chance) / chance)
        self._count_answers(step)
        spread = self._at(LOSS_LOGIT_STD, step)
        if spread:
            self.logit_spread.append(step, max(spread.values()))
        rows = self._series.get(WEIGHT_ROW_SIGNAL, {})
        ratios = self._at(UPDATE_RATIO, step)
        matrices = [v for site, v in ratios.items() if site in rows and math.isfinite(v) and self.started(site)]
        if matrices:
            value = median(matrices)
            reach = self.updates.steps[-1] if len(self.updates) else -1
            so_far = self._cumulated.last if len(self._cumulated) else 0.0
            self._cumulated.append(step, so_far + value * (step - reach))
            self.updates.append(step, value)

    def _count_answers(self, step: int) -> None:
        if self._answered and self._answered[-1] == step:
            return  # metrics that came after their window bring no answers
        rows, candidates = self._at(LOSS_ROWS, step), self._at(LOSS_CANDIDATES, step)
        largest = self._at(LOSS_LARGEST_LABEL, step)
        hits = answers = expected = 0.0
        for site, accuracy in self._at(LOSS_ACCURACY, step).items():
            number, among = rows.get(site, 0.0), candidates.get(site, 0.0)
            if among >= 1 and math.isfinite(accuracy):  # none is left of logits that are NaN
                guessed = max(1 / among, largest.get(site, 0.0))
                hits, answers, expected = hits + accuracy * number, answers + number, expected + number * guessed
        if answers:
            before = self._sums[-1] if self._sums else (0.0, 0.0, 0.0)
            self._answered.append(step)
            self._sums.append((before[0] + hits, before[1] + answers, before[2] + expected))
            if len(self._answered) >= MOST:
                kept = kept_indices(self._answered)
                self._answered = [self._answered[index] for index in kept]
                self._sums = [self._sums[index] for index in kept]

    def _at(self, signal: Signal, step: int) -> dict[str, float]:
        """Return the values of a signal by site, where its newest reading is of this step."""
        return {site: series.last for site, series in self._series.get(signal, {}).items() if series.last_step == step}
