"""EG225 to EG227: what the theory of an optimizer excludes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf, isfinite, nan, prod, sqrt
from statistics import median

from edgeglass_diag import site_paths
from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.series import Series
from edgeglass_diag.rules.training_state import learned_little
from edgeglass_diag.signals.parameters import (
    OPTIMIZER_BETA1,
    OPTIMIZER_BETA2,
    OPTIMIZER_DECOUPLED_WEIGHT_DECAY,
    OPTIMIZER_LR,
    OPTIMIZER_MOMENTUM,
    OPTIMIZER_WEIGHT_DECAY,
    UPDATE_RATIO,
    WEIGHT_NORM,
    WEIGHT_ROW_SIGNAL,
)
from edgeglass_diag.sites import ParameterSite


@dataclass(frozen=True)
class BetasSwapped(Rule):
    """Adam averages the gradient for longer than its square.

    Why: the direction is that of gradients long past, divided by what they are now: a step goes on where the loss has
    long turned, and its length swings with the noise of the last batches.

    Formula: beta1 > beta2 and beta1^2 >= sqrt(beta2) in every recorded window of a group, once the run is longer than
    the memory of the square, 1 / (1 - beta2) steps: until then both are averages of all gradients.
    """

    code = "EG225"
    name = "betas-swapped"
    title = "Adam's betas are swapped"
    severity = Severity.WARNING
    page = "gradients"
    signals = (OPTIMIZER_BETA1, OPTIMIZER_BETA2)
    source = (
        "https://arxiv.org/abs/1412.6980, theorem 4.1: beta1^2 / sqrt(beta2) < 1; torch.optim.Adam: betas are the "
        "decays of the gradient and of its square, (0.9, 0.999)"
    )
    fix = "Set betas=(0.9, 0.999): the first is for the gradient, the second for its square."
    cures = (Intervention("optimizer.beta2", 0.999),)
    hinders_learning = True
    faulty = "Adam(parameters, betas=(0.999, 0.9))"
    healthy = "Adam(parameters, betas=(0.9, 0.999))"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per parameter group."""
        for group, first in history.of(OPTIMIZER_BETA1):
            second = history.series(OPTIMIZER_BETA2, group)
            if not len(second) or not second.last < 1 or history.last_step + 1 <= 1 / (1 - second.last):
                continue
            if excluded(first, second):
                yield self.finding(
                    history,
                    f"{group} has betas=({first.last:g}, {second.last:g}), which averages the gradient over "
                    f"{_memory(first.last):.0f} steps and its square over {_memory(second.last):.0f}",
                    site=group,
                    evidence={"beta1": first.last, "beta2": second.last},
                )


def excluded(first: Series, second: Series) -> bool:
    """Return whether Adam's two decays are out of order in every recorded window: a schedule may move the first."""
    pairs = zip(first.values, second.values, strict=False)
    return all(one > other and one**2 >= sqrt(other) for one, other in pairs)


@dataclass(frozen=True)
class MomentumOutlivesRun(Rule):
    """Momentum remembers more steps than the run has, and the model has not learned.

    Why: with momentum m no oscillation dies faster than by sqrt(m) a step, whatever the rate, and SGD's steps grow to
    1 / (1 - m) times the rate: weights swing through the minimum and are not stopped.

    Formula: at the end of a run of at least ``steps`` steps 1 / (1 - m) exceeds their number, of SGD's momentum or
    Adam's beta1 in every recorded window, and the loss is no more than ``learned`` (relative) better than chance, or,
    where that is not known, than in the beginning.
    """

    steps: int = 50
    learned: float = 0.2

    code = "EG226"
    name = "momentum-outlives-run"
    title = "Momentum remembers longer than the run"
    severity = Severity.WARNING
    page = "gradients"
    signals = (OPTIMIZER_MOMENTUM, OPTIMIZER_BETA1)
    source = (
        "https://distill.pub/2017/momentum/: heavy ball converges by sqrt(momentum) a step at best; "
        "https://proceedings.mlr.press/v28/sutskever13.html lets 0.999 come up over thousands of steps"
    )
    fix = "Use a momentum of 0.9, and scale the learning rate by (1 - old) / (1 - new) at most if it was tuned."
    faulty = "SGD(parameters, lr=0.03, momentum=0.999), 200 steps"
    healthy = "SGD(parameters, lr=0.03, momentum=0.9), 200 steps"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per parameter group, at the end."""
        taken = history.last_step + 1
        if not history.ended or taken < self.steps or not learned_little(history, self.learned):
            return
        for group, momentum in _momenta(history):
            least = min(momentum.values)
            if least < 1 and _memory(least) > taken:
                yield self.finding(
                    history,
                    f"that of {group} is {least:g}, which averages over {_memory(least):.0f} steps, and the run had "
                    f"{taken}",
                    site=group,
                    evidence={"momentum": least, "memory": _memory(least), "steps": taken},
                )


def _momenta(history: History) -> Iterator[tuple[str, Series]]:
    yield from history.of(OPTIMIZER_MOMENTUM)
    for group, first in history.of(OPTIMIZER_BETA1):
        if not history.series(OPTIMIZER_MOMENTUM, group) and not excluded(
            first, history.series(OPTIMIZER_BETA2, group)
        ):
            yield group, first


def _memory(decay: float) -> float:
    return 1 / (1 - decay) if decay < 1 else inf


@dataclass(frozen=True)
class BeyondAdamsBound(Rule):
    """Adam takes steps that are longer than its rule allows.

    Why: divided by the root of its own mean square a gradient cannot be large, unless the mean square is lost: kept in
    float16 it is 0 for all gradients below 2e-4, and the step is the gradient over eps.

    Formula: the root mean square of the change of the weights exceeds ``factor`` times lr c + lr wd rms(w), with
    c = (1 - beta1) / sqrt((1 - beta2) (1 - beta1^2 / beta2)) and at least 1, in the median of the float32 matrices
    that torch's own Adams hold, in the newest ``windows`` recorded windows that measured the weights, from step
    ``steps`` on. Where beta1^2 is not below beta2 there is no bound.
    """

    factor: float = 2.0
    windows: int = 3
    steps: int = 10

    code = "EG227"
    name = "beyond-adams-bound"
    title = "Adam's second moment is lost"
    severity = Severity.WARNING
    page = "gradients"
    signals = (UPDATE_RATIO, WEIGHT_NORM, OPTIMIZER_LR)
    source = (
        "derived: Cauchy-Schwarz on m = (1 - beta1) sum beta1^k g and v = (1 - beta2) sum beta2^k g^2, up to the bias "
        "corrections, which only shorten (c = 7.3 for 0.9, 0.999); IEEE 754 binary16: squares below 2^-25 are 0; the "
        "factor leaves room for Nesterov's part and averages of weights, RAdam's first five steps are not normalised"
    )
    fix = "Keep the optimizer's state in float32; look at what writes exp_avg_sq after the step or as it is loaded."
    cures = (Intervention("optimizer.eps", 2e-4),)
    faulty = "state['exp_avg_sq'] = state['exp_avg_sq'].half()"
    healthy = "state['exp_avg_sq'] in float32"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        found = {}
        if history.last_step < self.steps:
            return
        for site, _ in history.at(ParameterSite, WEIGHT_ROW_SIGNAL):
            if site.dtype == "float32" and (worst := self._least_excess(history, site)) is not None:
                found[site.path] = worst
        if found and median(found.values()) >= self.factor:
            path = max(found, key=lambda site: found[site])
            yield self.finding(
                history,
                f"the median weight matrix takes steps of {median(found.values()):.3g} times what Adam's rule allows, "
                f"{path} of {found[path]:.3g} times",
                focus=path,
                evidence={"median": median(found.values()), "largest": found[path], "matrices": len(found)},
            )

    def _least_excess(self, history: History, site: ParameterSite) -> float | None:
        """Return the least of the newest steps of a weight, over the bound; None where it is not known."""
        group = (
            site_paths.group(site.optimizer, site.group)
            if site.optimizer is not None and site.group is not None
            else ""
        )
        decoupled = history.series(OPTIMIZER_DECOUPLED_WEIGHT_DECAY, group)
        weights, ratios = history.series(WEIGHT_NORM, site.path), history.series(UPDATE_RATIO, site.path)
        steps = weights.steps[-self.windows :]
        if not len(decoupled) or len(steps) < self.windows:
            return None
        rate, decay = history.series(OPTIMIZER_LR, group), history.series(OPTIMIZER_WEIGHT_DECAY, group)
        first, second = history.series(OPTIMIZER_BETA1, group), history.series(OPTIMIZER_BETA2, group)
        excess = []
        for step in steps:
            size = weights.at(step) / sqrt(prod(site.shape))
            allowed = rate.at(step) * (_longest(first.at(step), second.at(step)) + decay.at(step) * size)
            excess.append(ratios.at(step) * size / allowed if allowed > 0 else nan)
        return min(excess) if all(map(isfinite, excess)) else None


def _longest(first: float, second: float) -> float:
    """Return how many learning rates Adam's step may be long in one entry."""
    if not (first < 1 and first**2 < second < 1):
        return inf
    return max(1.0, (1 - first) / sqrt((1 - second) * (1 - first**2 / second)))
