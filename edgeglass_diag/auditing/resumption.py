"""Runs that were resumed with another rate, schedule or state: the loss jumps where rate or step begin anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from edgeglass_diag.auditing.conclusion import Concluded, Work, conclude
from edgeglass_diag.auditing.descent import training_losses
from edgeglass_diag.auditing.logged import Case, Series
from edgeglass_diag.auditing.trainings import RESUMED
from edgeglass_diag.auditing.trend import middle, noise
from edgeglass_diag.records import Severity

JUMP = 6.0
"""Standard errors that the loss jumps by; that of a difference of two medians of three rows is 1.02 deviations."""
ODD = 1 / 3
"""Share of all that a jump needs which is enough where the rate does what no schedule does."""
SHARE = 0.1
"""Share of the fall so far that it jumps by at least."""
ABRUPT = 5.0
"""Times the usual change of the rate in the rows before."""
RATIO = 1.5
LOW = 0.1
"""Share of its peak below which a rate has come to the end of a cycle."""
WIDE = 3
NEAR = 24
"""Rows before a break whose noise is told apart from that of the whole log."""
MOST = 20
"""Breaks that are looked at: a log that goes back all the time is one of several processes."""


@dataclass(frozen=True)
class _Break:
    """A step at which rate or clock do not go on as they were, in words.

    ``again`` where the rate warms up again, ``restart`` where it was at the end of its cycle, ``decay`` where it goes
    down for good, as schedules of steps do: there the jump must last for six rows, which a spike does not. ``odd`` is
    what no schedule does.
    """

    step: int
    words: str
    again: bool = False
    restart: bool = False
    decay: bool = False
    odd: bool = False


def resumed(case: Case) -> Iterator[Concluded]:
    """EG256: a break of the rate or the step, and a jump of the training loss in the same row or the next.

    A break is a change of the rate by half at least and five times the changes before it, or a step that goes back. A
    rate that is at the end of its cycle (below a tenth of its peak) and starts again is a warm restart, and only a
    fact (EG251), unless half of the jump is still there at the end. A second warm-up within a cycle is a fact of its
    own.
    """
    for series in training_losses(case):
        if len(series.finite) < 2 * WIDE:
            continue
        breaks = [*islice(_back(series), MOST), *_rate_breaks(case)[:MOST]]
        for one in breaks:
            jump = _jump(series, one)
            if jump is not None and not (one.restart and _taken_back(series, jump)):
                yield _concluded(case, series, one, jump)
                return
    again = next((one for one in _rate_breaks(case) if one.again), None)
    rate = next((s for s in case.of("lr")), None)
    if again is not None and rate is not None:
        yield conclude(
            RESUMED, case, rate, f"{again.words}: a second warm-up", severity=Severity.INFO, since=again.step,
            evidence={"step": again.step},
        )  # fmt: skip


def _taken_back(series: Series, jump: tuple[float, float]) -> bool:
    """Whether the end of the log has taken back half of a jump at least."""
    return middle([v for _, v in series.finite[-WIDE:]]) < sum(jump) / 2


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
        change = changes[index - 1]
        small = change < 0.05 * peak or max(before, after) < RATIO * min(before, after)
        if index < WIDE or peak <= 0 or small or change <= ABRUPT * middle(changes[max(0, index - 6) : index - 1]):
            continue
        if after > before and changes[index : index + 1] > [change / 2]:
            continue  # the rate goes on to rise
        rest = values[index : index + 6]
        rises = len(rest) >= 2 and max(rest) >= 2 * after and rest[1] > after
        restart = before <= LOW * peak and after > before
        if restart and not _comes_down(rate, index):
            continue  # cycles that cannot be compared, or the end of a warm-up in one row
        what = f"{rate.label} goes from {before:.3g} to {after:.3g}"
        again = after < before and before > LOW * peak and rises
        decay = after < before and not again
        words = what + (" and rises again" if again else "")
        yield _Break(rows[index][0], words, again, restart, decay, odd=not decay and not restart)


def _comes_down(rate: Series, index: int) -> bool:
    """Whether the rate is at the end of a cycle again after a row: only then the cycles can be compared."""
    values = [v for _, v in rate.finite]
    return index > WIDE and min(values[index:]) <= LOW * max(values[index:])


def _back(series: Series) -> Iterator[_Break]:
    for before, after in pairwise(series.steps):
        if after < before:
            yield _Break(after, f"the log goes back from step {before}")


def _jump(series: Series, one: _Break) -> tuple[float, float] | None:
    """Return the levels of the loss before and after a break where it jumps up in the rows next to it."""
    rows = series.finite
    steps, values = [s for s, _ in rows], [v for _, v in rows]
    at = _first_row(steps, one.step)
    if at is None:
        return None
    for index in (at, at + 1):
        after = values[index : index + WIDE]
        before = _level_before(steps, values, index)
        if len(after) < 2 or before is None:
            continue
        now = middle(after)
        fall = max(values[:index]) - before
        certain = ODD if one.odd else 1.0
        least = certain * max(JUMP * _noise_at(values, index), SHARE * fall, 0.05 * abs(before))
        later = middle(values[index + WIDE : index + 2 * WIDE]) if one.decay else now
        if now - before > least and later - before > least / 2:
            return before, now
    return None


def _noise_at(values: Sequence[float], index: int) -> float:
    """Return the noise of a log, or of the rows before one where it is larger: a loss that has fallen has less."""
    before = values[max(0, index - NEAR) : index]
    return max(noise(values), noise(before)) if len(before) == NEAR else noise(values)


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
