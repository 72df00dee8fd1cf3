"""Values that were never computed, that repeat, or that never move."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise

from edgeglass_diag.auditing.clock import counts_within_epochs
from edgeglass_diag.auditing.conclusion import Concluded, conclude, site_of
from edgeglass_diag.auditing.contradictions import (
    LOG_GOES_BACK,
    LOSS_REPEATS,
    NEVER_COMPUTED,
    SCALE_AT_CLAMP,
    SCALE_AT_INIT,
)
from edgeglass_diag.auditing.logged import FLOAT32, Case, Series
from edgeglass_diag.records import Severity
from edgeglass_diag.rules.numerics import NonFinite


def never_computed(case: Case, flagged: set[str]) -> Iterator[Concluded]:
    """EG450: losses that are 0 or NaN in rows where they cannot be; EG801 where they became NaN.

    Args:
        case: the history.
        flagged: sites of series that are found impossible already.
    """
    for series in case.of("loss"):
        if site_of(case, series) in flagged:
            continue
        finite = [v for v in series.values if math.isfinite(v)]
        zeros = sum(v == 0 for v in series.values)
        if not finite:
            yield _never(case, series, f"{series.label} is {series.last} in all {len(series.values)} rows")
        elif zeros and series.role.contrastive:
            yield from _zeros(case, series, zeros)
        elif zeros == len(series.values):
            words = f"{series.label} is 0 in all {zeros} rows: weight zero, or never computed"
            yield _never(case, series, words, severity=Severity.INFO)
        if finite and not math.isfinite(series.last):
            at = next(step for step, v in zip(series.steps, series.values, strict=True) if not math.isfinite(v))
            yield conclude(
                NonFinite, case, series, f"{series.label} is {series.last} since step {at}", since=at, evidence={}
            )


def _zeros(case: Case, series: Series, zeros: int) -> Iterator[Concluded]:
    """A softmax loss is exactly 0 where all margins exceed 17 nats, or where there is but one candidate."""
    rows = len(series.values)
    where = "" if rows == 1 else " in all rows" if zeros == rows else f" in {zeros} of {rows} rows"
    others = [
        s for s in case.of("loss", split=series.role.split, part=series.role.part)
        if s is not series and any(v > 0 for v in s.values)
    ]  # fmt: skip
    elsewhere = "".join(f"; {s.label} = {s.last:.6g}" for s in others)
    own = [v for v in series.values if v > 0]
    if len(series.values) > 1 and own and min(own) < 100 * series.tolerance:
        return  # a loss that reached 0 by falling
    digits = f" ({series.tolerance:.1g} by its digits)" if series.tolerance > 1e-4 else ""
    message = f"{series.label} is exactly 0{digits}{where}{elsewhere}, which no softmax over pairs gives"
    certain = bool(elsewhere or own)
    yield _never(case, series, message, severity=None if certain else Severity.WARNING)


def _never(case: Case, series: Series, message: str, *, severity: Severity | None = None) -> Concluded:
    evidence = {"value": series.last, "rows": len(series.values)}
    return conclude(NEVER_COMPUTED, case, series, message, severity=severity, evidence=evidence)


def repeats(case: Case, at_chance: set[str]) -> Iterator[Concluded]:
    """EG451: three or more rows in a row with the same loss to at least five significant digits.

    Two epochs of a model that moves differ in the fifth digit; a loss at its chance level is left to EG401.
    """
    for series in case.of("loss"):
        if series.label in at_chance or not series.role.contrastive or series.tolerance > 5e-6 * abs(series.last):
            continue
        longest, value, times = _longest_run(series.values)
        if times > 1:  # a value of an evaluation that each row carries on
            continue
        distinct = len(set(series.steps)) == len(series.steps)
        if longest >= 3 and distinct:
            yield conclude(
                LOSS_REPEATS, case, series, f"{series.label} is {value!r} in {longest} rows in a row",
                evidence={"value": value, "rows": longest, "tolerance": series.tolerance},
            )  # fmt: skip


def _longest_run(values: Sequence[float]) -> tuple[int, float, int]:
    """Return the length and value of the longest run of equal values, and how many runs have three or more."""
    longest, value, times = 1, values[-1], 0
    for same, group in groupby(values):
        count = sum(1 for _ in group)
        real = math.isfinite(same) and same != 0
        times += count >= 3 and real
        if count > longest and real:
            longest, value = count, same
    return longest, value, times


def counters(case: Case) -> Iterator[Concluded]:
    """EG253: an epoch or step counter that falls; one that begins anew in each epoch is none."""
    for kind in ("epoch", "step"):
        for series in case.of(kind):
            if counts_within_epochs(series.values, _epochs(case, series)):
                continue
            falls = [(a, b) for a, b in pairwise(series.values) if b < a]
            if falls:
                before, after = falls[0]
                yield conclude(
                    LOG_GOES_BACK, case, series,
                    f"{series.label} goes back from {before:.6g} to {after:.6g}"
                    + (f" and {len(falls) - 1} times more" if len(falls) > 1 else ""),
                    evidence={"from": before, "to": after, "times": len(falls)},
                )  # fmt: skip


def _epochs(case: Case, series: Series) -> Sequence[float | None]:
    """Return the epoch of each row of a column of the same table, nothing where there is none."""
    other = next((s for s in case.of("epoch") if s.table is series.table and s is not series), None)
    return () if other is None or len(other.values) != len(series.values) else other.values


_CLAMP = {"ln 100": math.log(100), "100": 100.0, "1/100": 0.01}
_INIT = {"ln(1/0.07)": math.log(1 / 0.07), "1/0.07": 1 / 0.07, "0.07": 0.07}


def scales(case: Case) -> Iterator[Concluded]:
    """EG455 and EG456: a logit scale (log, factor or temperature) at CLIP's clamp or at its initial value throughout.

    Source: https://arxiv.org/abs/2103.00020: temperature from 0.07, the scale clipped at 100.
    """
    if any("learn" in key.lower() and "scale" in key.lower() and v is False for key, v in case.settings.items()):
        return  # said to be fixed
    seen: set[str] = set()
    for series in (*case.of("scale"), *case.of("temperature")):
        if len(series.values) < 3:
            continue
        for verdict, levels in ((SCALE_AT_CLAMP, _CLAMP), (SCALE_AT_INIT, _INIT)):
            level = next((name for name, v in levels.items() if all(_at(series, x, v) for x in series.values)), None)
            if level is not None and verdict.code not in seen:
                seen.add(verdict.code)
                learned = any("learned" in k and v is True for k, v in case.settings.items())
                yield conclude(
                    verdict, case, series,
                    f"{series.label} is {level} = {series.last:.5g} in all {len(series.values)} rows",
                    severity=Severity.WARNING if learned and verdict is SCALE_AT_INIT else None,
                    evidence={"value": series.last, "level": level, "tolerance": series.tolerance},
                )  # fmt: skip


def _at(series: Series, value: float, level: float) -> bool:
    return abs(value - level) <= series.tolerance + 2 * FLOAT32 * level and series.tolerance < 0.02 * level
