"""Runs that were resumed with another rate, schedule or state: the loss jumps where rate or step begin anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from edgeglass_diag.auditing.conclusion import Concluded, Work, conclude
from edgeglass_diag.auditing.descent import training_losses
from edgeglass_diag.auditing.logged import Case, Series
from edgeglass_diag.auditing.trainings import RESUMED
from edgeglass_diag.auditing.trend import middle, noise
from edgeglass_diag.records import Severity

JUMP = 6.0
"""Standard deviations of a row that the loss jumps by."""
SHARE = 0.1
"""Share of the fall so far that it jumps by at least."""
ABRUPT = 5.0
"""Times the usual change of the rate in the rows around."""
RATIO = 1.5
LOW = 0.1
"""Share of its peak below which a rate has come to the end of a cycle."""
WIDE = 3


@dataclass(frozen=True)
class _Break:
    """A step at which rate or clock do not go on as they were, in words; ``again`` where the rate warms up again."""

    step: int
    words: str
    again: bool = False


def resumed(case: Case) -> Iterator[Concluded]:
    """EG256: a break of the rate or the step, and a jump of the training loss in the same row or the next.

    A break is a change of the rate by half at least and five times the changes around it, or a step that goes back. A
    rate that is at the end of its cycle (below a tenth of its peak) and starts again is a warm restart, and only a
    fact (EG251), unless the loss of the next cycle ends higher. A second warm-up within a cycle is a fact of its own.
    """
    for series in training_losses(case):
        if len(series.finite) < 2 * WIDE:
            continue
        breaks = [*_back(series), *_rate_breaks(case)]
        for one in breaks:
            jump = _jump(series, one.step)
            if jump is not None:
                yield _concluded(case, series, one, jump)
                return
    again = next((one for one in _rate_breaks(case) if one.again), None)
    rate = next((s for s in case.of("lr")), None)
    if again is not None and rate is not None:
        yield conclude(
            RESUMED, case, rate, f"{again.words}: a second warm-up", severity=Severity.INFO, since=again.step,
            evidence={"step": again.step},
        )  # fmt: skip


def _concluded(case: Case, series: Series, one: _Break, jump: tuple[float, float]) -> Concluded:
    before, after = jump
    return conclude(
        RESUMED, case, series,
        f"at step {one.step} {one.words}, and {series.label} jumps from {before:.4g} to {after:.4g}",
        since=one.step,
        evidence={"step": one.step, "before": before, "after": after},
        work=Work((f"{after:.6g} - {before:.6g} = {after - before:.4g}",)),
    )  # fmt: skip


def _rate_breaks(case: Case) -> list[_Break]:
    """Return the breaks of the first learning rate that has some."""
    for rate in case.of("lr"):
        found = list(_breaks_of(rate)) if not rate.table.partial else []
        if found:
            return found
    return []


def _breaks_of(rate: Series) -> Iterator[_Break]:
    rows = rate.finite
    values = [v for _, v in rows]
    changes = [abs(b - a) for a, b in pairwise(values)]
    peak = 0.0
    for index in range(1, len(rows)):
        before, after = values[index - 1], values[index]
        peak = max(peak, before)
        near = [*changes[max(0, index - 6) : index - 1], *changes[index : index + 5]]
        if peak <= 0 or changes[index - 1] <= ABRUPT * middle(near) or max(before, after) < RATIO * min(before, after):
            continue
        if changes[index - 1] < 0.05 * peak:
            continue
        rest = values[index : index + 6]
        rises = len(rest) >= 2 and max(rest) >= 2 * after and rest[1] > after
        if before <= LOW * peak and after > before and not _ends_higher(rate, index):
            continue  # a warm restart, or the end of a warm-up in one row
        what = f"{rate.label} goes from {before:.3g} to {after:.3g}"
        again = after < before and before > LOW * peak and rises
        yield _Break(rows[index][0], what + (" and rises again" if again else ""), again)


def _ends_higher(rate: Series, index: int) -> bool:
    """Whether the rate has come down again since a row: only then the cycles can be compared."""
    values = [v for _, v in rate.finite]
    return index > WIDE and min(values[index:]) <= LOW * max(values[index:])


def _back(series: Series) -> Iterator[_Break]:
    for before, after in pairwise(series.steps):
        if after < before:
            yield _Break(after, f"the log goes back from step {before}")


def _jump(series: Series, step: int) -> tuple[float, float] | None:
    """Return the levels of the loss before and after a break where it jumps up in the rows next to it."""
    rows = series.finite
    steps, values = [s for s, _ in rows], [v for _, v in rows]
    at = _first_row(steps, step)
    if at is None:
        return None
    for index in (at, at + 1):
        after = values[index : index + WIDE]
        before = _level_before(steps, values, index)
        if len(after) < 2 or before is None:
            continue
        now = middle(after)
        fall = max(values[:index]) - before
        if now - before > max(JUMP * noise(values[:index]), SHARE * fall, 0.05 * abs(before)):
            return before, now
    return None


def _first_row(steps: Sequence[int], step: int) -> int | None:
    """Return the first row of a break: where the log goes back to this step, or reaches it."""
    back = next((i for i in range(1, len(steps)) if steps[i] == step and steps[i] < steps[i - 1]), None)
    return back if back is not None else next((i for i, s in enumerate(steps) if s >= step and i), None)


def _level_before(steps: Sequence[int], values: Sequence[float], index: int) -> float | None:
    """Return the level of the rows before one; where the log goes back, of those up to the same step."""
    if index < len(steps) and steps[index] <= steps[index - 1]:
        earlier = [i for i in range(index) if steps[i] <= steps[index]]
        if len(earlier) < 2:
            return None  # a new run in the same file
        return middle(values[max(0, earlier[-1] - WIDE + 1) : earlier[-1] + 1])
    before = values[max(0, index - WIDE) : index]
    return middle(before) if len(before) >= 2 else None
