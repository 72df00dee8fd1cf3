"""Losses over a whole training: divergence, overfitting, and losses that stay at the level of guessing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgeglass_diag.auditing.conclusion import Concluded, Work, conclude
from edgeglass_diag.auditing.logged import Case, Series
from edgeglass_diag.auditing.trainings import GUESSING, OVERFITS
from edgeglass_diag.auditing.trend import course, middle, thirds
from edgeglass_diag.records import Severity
from edgeglass_diag.rules.divergence import Diverging

LEAST = 6
"""Rows from which on the course of a training loss is judged."""
GENERALISATION_LOSS = 0.1
UNLEARNED = math.log(50)
"""Loss above which a model gives less than a fiftieth to what is right, which none that is trained further does."""
FLAT = 0.02
"""Largest noise of a loss whose level is compared with ln C, relative to it."""


def training_losses(case: Case) -> list[Series]:
    """Return the whole training losses of a history; the terms of one only where no whole one is logged."""
    found = [s for s in case.of("loss") if s.role.split in ("", "train") and not s.role.summary and not s.table.partial]
    return [s for s in found if not s.role.part] or [s for s in found if s.role.contrastive] or found[:1]


@dataclass(frozen=True)
class _Rise:
    """A loss that ends above its lowest level; ``since`` is the first step of the end."""

    start: float
    best: float
    best_step: int
    last: float
    since: int
    beyond_start: bool


def diverges(case: Case, restarts: Sequence[int]) -> Iterator[Concluded]:
    """EG204: the training loss ends far above its lowest level.

    Formula: the last rows, at least three, are above the lowest level by half of what the loss had fallen, or by the
    level itself (twice as high), and by eight standard deviations of a row; or above the beginning by a twentieth and
    four standard errors; or the newest row is above 1.5 times the beginning (EG204's factor). A rise that begins at a
    restart of the rate counts only beyond the beginning.
    """
    for series in training_losses(case):
        rise = _rise(series)
        if rise is None:
            continue
        restarted = any(rise.best_step < step <= rise.since for step in restarts)
        if restarted and not rise.beyond_start:
            continue
        norm = _largest_norm(case, rise.best_step)
        above = "above its beginning" if rise.beyond_start else "most of what was learned is lost"
        yield conclude(
            Diverging, case, series,
            f"{series.label} rises from {rise.best:.4g} at step {rise.best_step} to {rise.last:.4g} "
            f"({above}: {rise.start:.4g}){norm}",
            severity=Severity.CRITICAL if rise.beyond_start else Severity.WARNING,
            since=rise.since,
            evidence={"first": rise.start, "lowest": rise.best, "at": rise.best_step, "last": rise.last},
        )  # fmt: skip
        return


def _rise(series: Series) -> _Rise | None:
    rows = series.finite
    if len(rows) < LEAST:
        return None
    steps, values = [step for step, _ in rows], [value for _, value in rows]
    found = course(steps, values)
    low = min(range(len(found.levels)), key=found.levels.__getitem__)
    best, start = found.levels[low], max(found.levels[0], values[0])
    fall = start - best
    half = (
        max(0.1 * fall, min(0.5 * fall, best if best > 0 else math.inf)) if fall > 0.2 * abs(best) else 0.5 * abs(best)
    )
    above_start = start + 0.05 * abs(start) - best + 4 * 1.2533 * found.noise / math.sqrt(3)
    limit = best + min(max(8 * found.noise, half), above_start)
    end = len(values) - next((i for i, v in enumerate(reversed(values)) if v <= limit), len(values))
    last = middle(values[max(end, len(values) - 3) :])
    factor = Diverging.factor * start
    beyond = (0 < factor < last and last > best + 12 * found.noise) or last >= best + above_start
    if len(values) - end < 3 and not (beyond and last >= max(values)):
        return None
    return _Rise(start, best, found.steps[low], last, steps[end], beyond) if end < len(values) else None


def _largest_norm(case: Case, since: int) -> str:
    norms = next((s for s in case.of("grad_norm", part="")), None)
    if norms is None:
        return ""
    usual = middle([v for step, v in norms.finite if step <= since])
    largest = max((v for step, v in norms.finite if step >= since), default=0.0)
    return f"; the gradient norm reaches {largest:.4g}, usually {usual:.4g}" if largest > 3 * usual else ""


def overfits(case: Case) -> Iterator[Concluded]:
    """EG459: the validation loss rises by a tenth above its lowest level, the training loss goes on falling.

    At least three evaluations follow the lowest, and both changes are beyond four standard errors. A fact alone where
    the accuracy of the same data still rises at the end: the answers get better, and are only too certain.
    """
    for series in case.of("loss"):
        if series.role.split not in ("val", "test") or series.role.summary or len(series.finite) < 4:
            continue
        steps, values = zip(*series.finite, strict=True)
        found = course(steps, values)
        low = min(range(len(found.levels)), key=found.levels.__getitem__)
        best, last = found.levels[low], found.levels[-1]
        since = found.steps[low]
        least = max(GENERALISATION_LOSS * abs(best), 4 * math.sqrt(2) * found.error)
        if best <= 0 or last - best < least or sum(step > since for step in steps) < 3:
            continue
        training = _falls_since(case, series, since)
        if training is None:
            continue
        yield conclude(
            OVERFITS, case, series,
            f"{series.label} rises from {best:.4g} at step {since} to {last:.4g} ({last / best - 1:+.0%}), while "
            f"{training[0]} falls from {training[1]:.4g} to {training[2]:.4g}",
            severity=Severity.INFO if _more_right(case, series, since) else None,
            since=since,
            evidence={"lowest": best, "at": since, "last": last, "training": training[2]},
            work=Work((f"{last:.6g} / {best:.6g} - 1 = {last / best - 1:.4f} > {GENERALISATION_LOSS}",)),
        )  # fmt: skip
        return


def _falls_since(case: Case, validation: Series, since: int) -> tuple[str, float, float] | None:
    """Return a training loss of the same term that falls after a step, with both levels."""
    losses = training_losses(case)
    own = [s for s in losses if s.role.part == validation.role.part]
    for series in own or losses:
        before = [v for step, v in series.finite if step <= since]
        after = [v for step, v in series.finite if step > since]
        if len(before) < 1 or len(after) < 2:
            continue
        wide = max(1, min(len(before), len(after), 5))
        found = course(*zip(*series.finite, strict=True))
        then, now = middle(before[-wide:]), middle(after[-wide:])
        if then - now > max(0.02 * abs(then), 2 * found.noise / math.sqrt(wide)):
            return series.label, then, now
    return None


def _more_right(case: Case, loss: Series, since: int) -> bool:
    """Whether an accuracy is two points higher at the end than halfway through the rise of the loss."""
    for series in case.of("accuracy", split=loss.role.split, summary=""):
        risen = [v for step, v in series.finite if step > since]
        half = len(risen) // 2
        if half and middle(risen[-3:]) > middle(risen[max(0, half - 2) : half + 1]) + 0.02:
            return True
    return False


def at_guessing(case: Case) -> Iterator[Concluded]:
    """EG462: the training loss is ln C within three standard errors in all rows, and without a trend.

    Of many classes the levels lie too close to tell one; above ln 50 any flat loss counts.
    """
    for series in training_losses(case):
        values = [v for _, v in series.finite]
        if len(values) < 8 or middle(values) <= 0:
            continue
        found = course(*zip(*series.finite, strict=True))
        level = sum(values) / len(values)
        error = max(found.noise / math.sqrt(len(values)), series.tolerance)
        first, _, last = thirds(values)
        if found.noise > FLAT * level or abs(last - first) > max(6 * error, 0.005 * level):
            continue
        classes = round(math.exp(min(level, 20.0)))
        near = classes >= 2 and abs(level - math.log(classes)) <= 3 * error + 0.001 * level
        sharp = 6 * error * classes < 1
        if not (near and sharp) and level < UNLEARNED:
            continue
        words = f"ln {classes} = {math.log(classes):.4g}" if near and sharp else "it does not move"
        yield conclude(
            GUESSING, case, series,
            f"{series.label} is {level:.4g} in all {len(values)} rows ({first:.4g} in the first third, {last:.4g} in "
            f"the last): {words}",
            evidence={"mean": level, "error": error, "classes": classes if near and sharp else None},
            work=Work((f"mean {level:.6g} +- {error:.2g}",)),
        )  # fmt: skip
        return
