"""The shape of a logged learning rate: past its horizon, warm-up without end, restarts, zero before the end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from edgeglass_diag.auditing.conclusion import Concluded, Work, conclude
from edgeglass_diag.auditing.contradictions import RATE_RESTARTS
from edgeglass_diag.auditing.descent import training_losses
from edgeglass_diag.auditing.logged import Case, Series, setting
from edgeglass_diag.auditing.trainings import RATE_ZERO
from edgeglass_diag.auditing.trend import noise, thirds
from edgeglass_diag.records import Severity
from edgeglass_diag.rules.learning_rate import ScheduleEnded, WarmupTooLong
from edgeglass_diag.rules.optimisation import ScheduleOverrun

LOW = ScheduleOverrun.low
"""Share of the peak that the rate must have fallen to before its rise is one past the horizon."""
POINTS = ScheduleOverrun.points
ENDS_EARLY = 0.1
"""Share of the rows at the end with rate 0 from which on the schedule ended early; a decay to 0 has one such row."""


def learning_rates(case: Case) -> Iterator[Concluded]:
    """Conclusions about each learning rate whose values differ from those of the ones before."""
    seen: set[tuple[float, ...]] = set()
    for series in case.of("lr"):
        if series.values in seen or not all(math.isfinite(v) for v in series.values):
            continue
        seen.add(series.values)
        if series.table.partial:
            yield from _few_points(case, series)
        elif len(series.values) >= 4:
            yield from _overrun(case, series)
            yield from _warmup(case, series)
            yield from _restarts(case, series)
            yield from _ends_early(case, series)


def _overrun(case: Case, series: Series) -> Iterator[Concluded]:
    """After the peak the rate fell to ``LOW`` of it and then rose smoothly, closer to t^2 than to t."""
    steps, values = series.steps, series.values
    peak = values.index(max(values))
    lowest = min(range(peak, len(values)), key=lambda i: values[i])
    rising = values[lowest:]
    if len(rising) <= POINTS or values[lowest] > LOW * values[peak] or rising[-1] > values[peak]:
        return
    times = [step - steps[lowest] for step in steps[lowest:]]
    lifted = [value - rising[0] for value in rising]
    if any(b <= a for a, b in pairwise(rising)) or _misfit(times, lifted, 2) >= _misfit(times, lifted, 1):
        return
    if lifted[1] > 0.5 * lifted[-1] and len(lifted) > 3:  # a jump
        return
    yield conclude(
        ScheduleOverrun, case, series,
        f"{series.label} fell to {rising[0]:.3g} at step {steps[lowest]} and rises again to {rising[-1]:.3g} at step "
        f"{steps[-1]}",
        evidence={"lowest": rising[0], "at": steps[lowest], "now": rising[-1], "peak": values[peak]},
        work=Work((f"misfit of c t^2 {_misfit(times, lifted, 2):.2g}, of c t {_misfit(times, lifted, 1):.2g}",)),
    )  # fmt: skip


def _misfit(times: Sequence[int], values: Sequence[float], power: int) -> float:
    """Squared error of the best c t^power."""
    basis = [float(t) ** power for t in times]
    norm = sum(b * b for b in basis)
    factor = sum(b * v for b, v in zip(basis, values, strict=True)) / norm if norm else 0.0
    return sum((v - factor * b) ** 2 for b, v in zip(basis, values, strict=True))


def _warmup(case: Case, series: Series) -> Iterator[Concluded]:
    """The rate rises in equal steps from the first row to the last."""
    values = series.values
    rises = [
        (b - a) / (t - s) for (a, b), (s, t) in zip(pairwise(values), pairwise(series.steps), strict=True) if t > s
    ]
    if len(rises) < 3 or min(rises) <= 0 or max(rises) - min(rises) > 0.05 * max(rises) + 4 * series.tolerance:
        return
    if series.steps[0] > 0.1 * series.steps[-1] or min(rises) <= 4 * series.tolerance:
        return  # begins in the middle of a run, or the digits do not tell
    aim = setting(case.settings, "lr", "learning_rate", "max_lr", "peak_lr")
    ends = f"; at this pace the {aim:.3g} of the settings comes at step {aim / rises[-1]:.0f}" if aim else ""
    yield conclude(
        WarmupTooLong, case, series,
        f"{series.label} rises evenly from {values[0]:.3g} to {values[-1]:.3g} in all {len(values)} rows: the "
        f"warm-up is longer than what is logged{ends}",
        evidence={"first": values[0], "last": values[-1], "per_step": rises[-1], "setting": aim},
        work=Work((f"slope {min(rises):.4g} to {max(rises):.4g}",)),
    )  # fmt: skip


def _restarts(case: Case, series: Series) -> Iterator[Concluded]:
    """The rate at least doubles from one row to the next, after it had fallen to half of its peak."""
    jumps, peak = _jumps(series), max(series.values)
    if jumps:
        yield conclude(
            RATE_RESTARTS, case, series,
            f"{series.label} jumps back up at step {', '.join(map(str, jumps[:5]))}{' ...' if len(jumps) > 5 else ''}",
            evidence={"steps": jumps, "peak": peak},
        )  # fmt: skip


def restart_steps(case: Case) -> list[int]:
    """Return the steps at which a learning rate starts again."""
    return sorted({step for series in case.of("lr") if not series.table.partial for step in _jumps(series)})


def _jumps(series: Series) -> list[int]:
    """Return where a rate that had fallen to half of its peak is up again; a rate of 0 that never was above is none."""
    jumps, peak = [], 0.0
    for (before, after), step in zip(pairwise(series.values), series.steps[1:], strict=True):
        peak = max(peak, before)
        if peak > 0 and before <= 0.5 * peak and after >= 2 * before and after >= 0.5 * peak:
            jumps.append(step)
    return jumps


def zero_rate(case: Case) -> Iterator[Concluded]:
    """EG255: all learning rates are 0 in all rows, at least three; a fact alone where the training loss falls."""
    rates = [s for s in case.of("lr") if not s.table.partial and len(s.values) >= 3]
    if not rates or any(v != 0 for s in rates for v in s.values):
        return
    falls = [loss for loss in training_losses(case) if _falls(loss)]
    words = f"; {falls[0].label} falls all the same, so it is 0 to the logged digits only" if falls else ""
    yield conclude(
        RATE_ZERO, case, rates[0], f"{rates[0].label} is 0 in all {len(rates[0].values)} rows{words}",
        severity=Severity.INFO if falls else None,
        evidence={"rows": len(rates[0].values)},
    )  # fmt: skip


def _falls(loss: Series) -> bool:
    """Whether a loss falls by a tenth and four standard errors."""
    values = [v for _, v in loss.finite]
    if len(values) < 3:
        return False
    first, _, last = thirds(values)
    return first - last > max(0.1 * abs(first), 4 * math.sqrt(6 / len(values)) * noise(values))


def _ends_early(case: Case, series: Series) -> Iterator[Concluded]:
    values = series.values
    zeros = next((i for i, v in enumerate(reversed(values)) if v > ScheduleEnded.low * max(values)), len(values))
    # A cosine that is written with few digits is 0 over the last 2/pi sqrt(tolerance / peak) of its steps.
    rounded = 2 / math.pi * math.sqrt(series.tolerance / max(values)) if max(values) > 0 else 1.0
    if zeros >= ScheduleEnded.windows and zeros > (ENDS_EARLY + rounded) * len(values):
        yield conclude(
            ScheduleEnded, case, series,
            f"{series.label} is 0 in the last {zeros} of {len(values)} rows, from step {series.steps[-zeros]} on: "
            "nothing is trained any more",
            since=series.steps[-zeros],
            evidence={"rows": zeros, "of": len(values)},
        )  # fmt: skip


def _few_points(case: Case, series: Series) -> Iterator[Concluded]:
    """A rate that rises at the end of the run, given by a few of its points.

    From three points of which two are neighbours follow horizon and peak of A sin^2(x (t - t0)) = A (1 - cos) / 2
    with x = pi / (2 T). Two points exclude the linear warm-up: over the last of E epochs it grows at most E / (E-1).
    """
    first, last = series.values[0], series.values[-1]
    length = series.steps[-1] + 1
    if not 0 < first < last:
        return
    epochs = setting(case.settings, "epochs", "num_epochs", "max_epochs", "num_train_epochs")
    aim = setting(case.settings, "lr", "learning_rate", "max_lr", "peak_lr")
    evidence: dict[str, object] = {"first": first, "last": last, "steps": length, "setting": aim}
    told = _cosine(series)
    if told is not None:
        behind, horizon, peak = told
        words = (
            f"{series.label} rises as A sin^2(pi (t - t0) / 2T): {behind:.0f} step before its first point it was 0, "
            f"T = {horizon:.0f} steps ({horizon / length:.2f} x {length}), A = {peak:.4g}"
        )
        evidence |= {"horizon": horizon, "peak": peak, "steps_past_the_horizon": behind + length - 1}
        arithmetic = (
            f"second / first = {series.values[1] / first:.5f}, ((n+1)/n)^2 at n = {behind:.2f}; last / first = "
            f"{last / first:.2f} against {length**2} of c t^2: the cosine bends by {1 - last / first / length**2:.2%}"
        )
    elif series.table.at_end and epochs and epochs >= 2 and last / first > epochs / (epochs - 1) * (1 + 1 / length):
        limit = epochs / (epochs - 1)
        words = (
            f"{series.label} rises from {first:.4g} to {last:.4g}, {last / first:.3f}-fold, in the last of "
            f"{epochs:.0f} epochs; a linear warm-up over the whole run rises {limit:.3f}-fold at most"
        )
        evidence |= {"epochs": epochs}
        arithmetic = f"{last!r} / {first!r} = {last / first:.4f} > {limit:.4f}"
    else:
        return
    low = f", {last / aim:.2%} of the {aim:.3g} of the settings" if aim else ""
    yield conclude(
        ScheduleOverrun, case, series, f"{words}; at the end it is {last:.3g}{low}",
        evidence=evidence, work=Work((arithmetic,)),
    )  # fmt: skip


def _cosine(series: Series) -> tuple[float, float, float] | None:
    """Steps since the horizon at the first point, horizon T and amplitude A; None where points do not tell.

    sin(x (u + 1)) / sin(x u) = q gives u for each x: tan(x u) = sin x / (q - cos x); x by bisection.
    """
    if len(series.values) != 3 or series.steps[:2] != (0, 1):
        return None
    first, second, last = series.values
    far = series.steps[2]
    q = math.sqrt(second / first)
    if q <= 1 or not second / first > 1.9:  # nearer neighbours: u above 2.6 is known too badly
        return None

    def since(x: float) -> float:
        return math.atan2(math.sin(x), q - math.cos(x)) / x

    def ratio(x: float) -> float:
        u = since(x)
        return float((math.sin(x * (u + far)) / math.sin(x * u)) ** 2)

    low, high = 1e-7, math.pi / (2 * (far + since(1e-7)))
    if not ratio(high) <= last / first <= ratio(low):
        return None
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if ratio(middle) > last / first else (low, middle)
    return since(low), math.pi / (2 * low), first / math.sin(low * since(low)) ** 2
