"""Weights that are again exactly what they were, while the optimizer goes on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan
from statistics import median

from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.series import Series
from edgeglass_diag.signals.parameters import (
    OPTIMIZER_BETA2,
    OPTIMIZER_LR,
    OPTIMIZER_MOMENTUM,
    UPDATE_RATIO,
    WEIGHT_NORM,
)

FEWEST = 3
"""Parameters that must all have come back: float32 has some 1e4 numbers within the usual way of a norm between two
windows, so that one comes back by chance in a long run, and three together in none."""

AWAY = 1e-5
"""Part of a norm by which it was another meanwhile: a hundred times the spacing of float32, which a constraint on the
norm leaves."""

FRESH = 1.25
"""Factor within which the first steps of two optimizers agree: Adam's is its rate for each entry. A second moment that
lives on makes another."""

FRESH_SGD = 4.0
"""The same of SGD with momentum, whose first steps are the gradients of what data there is, as for each client of a
federated training; a momentum of 0.9 that lives on makes steps up to ten times as large."""


_STATE = (OPTIMIZER_BETA2, OPTIMIZER_MOMENTUM)
"""What an optimizer has that keeps something from step to step."""


@dataclass(frozen=True)
class Return:
    """Weights are at a step what they were at an earlier one."""

    step: int
    origin: int


def returns(history: History) -> list[Return]:
    """Return where the norms of all parameters equal those of an earlier step, having been others meanwhile.

    Not where the step taken from there is as large, for its rate, as the first time: the optimizer is a new one then,
    as for each fold of a cross-validation or each rate that is tried. SGD without momentum has nothing that goes on.
    """
    if not any(series.last > 0 for signal in _STATE for _, series in history.of(signal)):
        return []
    norms = [series for _, series in history.of(WEIGHT_NORM) if len(series) and min(series.values) < max(series.values)]
    if len(norms) < FEWEST:
        return []
    longest = max(norms, key=len)
    again = (one for one in _again(longest) if not _over_a_cut(history, one))
    return [one for one in again if _all_back(norms, one) and not _begun_anew(history, one)]


def _over_a_cut(history: History, one: Return) -> bool:
    """Return whether the program was started again between both, and has its weights from a checkpoint."""
    return any(one.origin < cut.step <= one.step for cut in history.cuts)


def _again(norms: Series) -> Iterable[Return]:
    seen: dict[float, int] = {}
    for step, value in zip(norms.steps, norms.values, strict=True):
        origin = seen.setdefault(value, step)
        if origin != step:
            yield Return(step, origin)


def _all_back(norms: Iterable[Series], one: Return) -> bool:
    """Return whether all parameters that were weighed at both steps have come back, and there are enough of them.

    Not where all have the same norm then: they were set to it.
    """
    known = [series for series in norms if not isnan(series.at(one.origin)) and not isnan(series.at(one.step))]
    sizes = [series.at(one.step) for series in known]
    if len(known) < FEWEST or max(sizes) - min(sizes) <= AWAY * max(sizes):
        return False
    return all(_is_back(series, one) for series in known)


def _is_back(norms: Series, one: Return) -> bool:
    value = norms.at(one.origin)
    between = [other for step, other in norms.since(one.origin) if step < one.step]
    return norms.at(one.step) == value and any(abs(other - value) > AWAY * value for other in between)


def _begun_anew(history: History, one: Return) -> bool:
    """Return whether the median step, over its rate, is as large as the one that was taken from there before."""
    rates = [(series.at(one.origin), series.at(one.step)) for _, series in history.of(OPTIMIZER_LR)]
    rate = max((now / before for before, now in rates if before > 0), default=1.0)
    steps = [(series.at(one.origin), series.at(one.step)) for _, series in history.of(UPDATE_RATIO)]
    grown = [now / before for before, now in steps if before > 0 and not isnan(now)]
    factor = FRESH if history.has(OPTIMIZER_BETA2) else FRESH_SGD
    return bool(grown) and 1 / factor <= median(grown) / max(rate, 1e-30) <= factor
