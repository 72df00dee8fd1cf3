"""How long a training may have learned nothing and only be slow to begin."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from math import acos, cos, isclose, pi

from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.series import Series, Streak
from edgeglass_diag.rules.training_state import learned
from edgeglass_diag.signals.parameters import GRADIENT_NORM, OPTIMIZER_LR

SHORTEST = 200
"""Steps after warm-up within which a plateau says nothing: the weights move by a fifth in them at the usual 1e-3 a step
(https://cs231n.github.io/neural-networks-3/#ratio), which is the least that shows whether a model learns."""

LONGEST = 1000
"""Steps after warm-up from which on a plateau is none that learning follows upon as a rule: weights are replaced once
at 1e-3 a step, and Adam's second moment has averaged over 1 / (1 - .999) gradients, before which its steps are
unreliable (https://arxiv.org/abs/1910.04209 takes twice that for a warm-up). Out of a saddle learning grows
exponentially (https://arxiv.org/abs/1312.6120), and transformers sit on plateaus until then
(https://arxiv.org/abs/2310.12956)."""

SHARE = 0.1
"""Share of a run whose length is known: trainers warm up for 3 to 10 % of it (https://arxiv.org/abs/1706.02677: 5 of 90
epochs; https://arxiv.org/abs/1907.11692: 5 to 6 %)."""

LEFT_CHANCE = 0.01
"""Part of its chance level within which rules take a loss to be at chance."""

LEARNED = 0.2
"""Part of its chance level below which a loss shows that the model has learned: far beyond the noise of a batch."""

_PEAK = 0.999
"""Part of the largest rate that is as good as it."""
_MISFIT = 0.1
"""Largest error, as a part of how far the rate has fallen, with which a schedule is recognised half-way."""
_WINDOWS, _READINGS, _MOST = 3, 4, 256


def patience(history: History) -> int:
    """Return the step before which a model that has not begun to learn may only be slow.

    It is the end of the warm-up and then a tenth of the run, at least 200 and at most 1000 steps; 1000 where the rate
    does not tell how long the run will be. While a rate still rises the warm-up has not ended. Of several trainings in
    one run, as of a teacher and a student, it is that of the one that goes on.
    """
    begun = history.begun
    rates = [series for _, series in history.of(OPTIMIZER_LR) if series.steps[-1] >= begun]
    warm = max((_warm_up_end(series, begun) for series in rates), default=begun)
    lengths = [end - begun for series in rates if (end := scheduled_steps(series, begun)) is not None]
    span = max(SHORTEST, SHARE * max(lengths)) if lengths else LONGEST
    return int(warm + min(LONGEST, span))


def scheduled_steps(series: Series, since: int = 0) -> int | None:
    """Return the step at which a rate will be 0 if it goes on falling linearly or as a cosine; None if it does neither.

    The length follows from how far the rate has fallen since ``since``, and must explain the rate half-way.
    """
    steps, values = _thinned(series, since)
    peak = max(values, default=0.0)
    first = max((i for i, value in enumerate(values) if value == peak), default=0)
    steps, values = steps[first:], values[first:]
    if peak <= 0 or len(values) < 3 or values[-1] >= _PEAK * peak or values[-1] <= 0:
        return None
    gone, left, middle = steps[-1] - steps[0], values[-1] / peak, len(steps) // 2
    part, fallen = (steps[middle] - steps[0]) / gone, 1 - values[middle] / peak
    slack, turned = _MISFIT * (1 - left), acos(2 * left - 1)
    if isclose(fallen, (1 - left) * part, abs_tol=slack):
        return steps[0] + round(gone / (1 - left))
    if isclose(fallen, (1 - cos(turned * part)) / 2, abs_tol=slack):
        return steps[0] + round(gone * pi / turned)
    return None


def _warm_up_end(series: Series, since: int) -> int:
    """Return the step at which a rate came to its largest value so far, the newest while it rises; the first if NaN."""
    steps, values = _thinned(series, since)
    peak = max(values)
    return next((step for step, value in zip(steps, values, strict=True) if value >= _PEAK * peak), since)


def _thinned(series: Series, since: int) -> tuple[Sequence[int], Sequence[float]]:
    """Return evenly chosen readings, the newest among them: a long run is asked for its patience in each window."""
    first = bisect_left(series.steps, since)
    steps, values = series.steps[first:], series.values[first:]
    stride = 1 + len(steps) // _MOST
    return steps[::-stride][::-1], values[::-stride][::-1]


def left_chance(history: History) -> Streak | None:
    """Return since when the whole loss lies below its chance level: the newest four readings, up to one spike of them.

    Where it knows nothing a loss lies at or above chance, with the noise of a batch that the median of four hardly has.
    """
    newest = history.relative_loss.newest(_READINGS)
    below = [step for step, value in newest if value < -LEFT_CHANCE]
    if len(below) < _READINGS - 1:
        return None
    return Streak(below[0], len(below), newest[-1][0] - below[0])


def learns_since(history: History) -> int | None:
    """Return the step since which the model learns: by leaving chance while a verdict is early, by a fifth later on."""
    state = learned(history) if history.last_step >= history.early_until else left_chance(history)
    return None if state is None else state.since


def has_learned(history: History) -> bool:
    """Return whether the loss of this training has been a fifth below chance, in three windows: no slow start."""
    return sum(value <= -LEARNED for _, value in history.relative_loss.since(history.begun)) >= _WINDOWS


def no_gradient(history: History, names: Iterable[str] = ("",)) -> bool:
    """Return whether these gradients have lately been exactly 0, so that no training changes what they are of.

    Args:
        history: what has been recorded.
        names: of parameters; the gradient of all of them if left out.
    """
    newest = [history.series(GRADIENT_NORM, name).values[-_WINDOWS:] for name in names]
    return bool(newest) and all(len(values) == _WINDOWS and not any(values) for values in newest)
