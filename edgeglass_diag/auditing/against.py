"""One history compared with that of a healthy training: what falls behind, from which step on, and what differs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgeglass_diag.auditing.conclusion import Concluded, Work, conclude
from edgeglass_diag.auditing.logged import Case, Series
from edgeglass_diag.auditing.trainings import OTHER_SETTINGS, WORSE
from edgeglass_diag.auditing.trend import Course, course, middle

BEHIND = 0.1
"""Relative distance from the baseline that counts."""
OF_THE_FALL = 0.02
"""The same relative to all that the baseline's loss fell by: losses near 0 differ by any factor."""
ERRORS = 4.0
LEVELS = 3
RATE = 0.1
NORMS = 3.0
SLOW = 0.75
_JUDGED = ("loss", "recall", "accuracy")
_NAMES = {
    "seed",
    "name",
    "run_name",
    "id",
    "run_id",
    "time",
    "date",
    "timestamp",
    "dir",
    "path",
    "folder",
    "host",
    "user",
}


@dataclass(frozen=True)
class _Behind:
    series: Series
    since: int
    mine: float
    theirs: float


def against(case: Case, baseline: Case) -> Iterator[Concluded]:
    """EG463 for each loss, recall and accuracy that falls behind the baseline's, and EG464 for what else differs.

    Levels are compared at the same steps. A column is behind where it is so in its last three levels at least, to the
    end of the steps that both have; ``since`` is the first of them.
    """
    behind = [found for series in _compared(case) if (found := _behind(series, baseline)) is not None]
    others = _differences(case, baseline)
    for one in sorted(behind, key=lambda found: found.since):
        yield conclude(
            WORSE, case, one.series,
            f"{one.series.label} is {one.mine:.4g}, {one.theirs:.4g} in {baseline.name}, and behind since step "
            f"{one.since}",
            since=one.since,
            evidence={"value": one.mine, "baseline": one.theirs, "baseline_history": baseline.name},
            work=Work(tuple(others)),
        )  # fmt: skip
    if others and case.series:
        yield conclude(
            OTHER_SETTINGS, case, case.series[0], "; ".join(others), evidence={"baseline_history": baseline.name}
        )


def _compared(case: Case) -> Iterator[Series]:
    """Yield the first series of each role."""
    seen = set()
    for series in case.series:
        role = _essential(series)
        if series.role.kind in _JUDGED and not series.role.summary and not series.table.partial and role not in seen:
            seen.add(role)
            yield series


def _essential(series: Series) -> object:
    """Return what two columns must have in common; a training loss may be called train or not."""
    split = "" if series.role.split == "train" else series.role.split
    return replace(series.role, split=split, percent=False)


def _same(series: Series, baseline: Case) -> Series | None:
    wanted = _essential(series)
    return next((other for other in baseline.series if _essential(other) == wanted), None)


def _behind(series: Series, baseline: Case) -> _Behind | None:
    other = _same(series, baseline)
    if other is None or not series.finite or not other.finite:
        return None
    last = min(series.finite[-1][0], other.finite[-1][0])
    first = max(series.finite[0][0], other.finite[0][0])
    mine, theirs = _within(series, first, last), _within(other, first, last)
    if len(mine.levels) < LEVELS or len(theirs.levels) < LEVELS:
        return None
    expected = np.interp(mine.steps, theirs.steps, theirs.levels)
    sign = 1.0 if series.role.kind == "loss" else -1.0
    fall = max(theirs.levels) - min(theirs.levels)
    error = ERRORS * math.hypot(mine.error, theirs.error)
    count = 0
    for level, value in zip(reversed(mine.levels), reversed(expected.tolist()), strict=True):
        if sign * (level - value) <= max(BEHIND * abs(value), OF_THE_FALL * fall, error):
            break
        count += 1
    if count < LEVELS:
        return None
    return _Behind(series, mine.steps[-count], mine.levels[-1], float(expected[-1]))


def _within(series: Series, first: int, last: int) -> Course:
    rows = [(step, v) for step, v in series.finite if first <= step <= last]
    return course([step for step, _ in rows], [v for _, v in rows])


def _differences(case: Case, baseline: Case) -> list[str]:
    return [*_rates(case, baseline), *_sizes(case, baseline), *_settings(case.settings, baseline.settings)]


def _rates(case: Case, baseline: Case) -> Iterator[str]:
    mine, theirs = next(case.of("lr"), None), next(baseline.of("lr"), None)
    if mine is None or theirs is None or not mine.finite or not theirs.finite:
        return
    steps, values = zip(*theirs.finite, strict=True)
    peak = max(max(values), max(v for _, v in mine.finite))
    for step, value in mine.finite:
        if not steps[0] <= step <= steps[-1]:
            continue
        expected = float(np.interp(step, steps, values))
        if abs(value - expected) > max(RATE * max(value, expected), 0.02 * peak):
            yield f"{mine.label} is {value:.3g} at step {step}, {expected:.3g} in the baseline"
            return


def _sizes(case: Case, baseline: Case) -> Iterator[str]:
    for kind, limit in (("grad_norm", NORMS), ("speed", 1 / SLOW), ("duration", 1 / SLOW)):
        mine = next((s for s in case.of(kind) if s.role.split in ("", "train")), None)
        other = None if mine is None else _same(mine, baseline)
        if mine is None or other is None or not mine.finite or not other.finite:
            continue
        here, there = middle([v for _, v in mine.finite]), middle([v for _, v in other.finite])
        if min(here, there) > 0 and max(here, there) >= limit * min(here, there):
            yield f"{mine.label} is {here:.4g} (median), {there:.4g} in the baseline"


def _settings(mine: Mapping[str, object], theirs: Mapping[str, object]) -> Iterator[str]:
    """Yield the settings that both have with different values; names, seeds and places are not compared."""
    for key in sorted(mine.keys() & theirs.keys()):
        word = key.lower().rsplit("/", 1)[-1]
        if word in _NAMES or any(word.endswith(f"_{name}") for name in _NAMES):
            continue
        here, there = mine[key], theirs[key]
        if here != there and all(isinstance(value, bool | int | float | str) for value in (here, there)):
            yield f"setting {key} is {str(here)[:60]}, {str(there)[:60]} in the baseline"
