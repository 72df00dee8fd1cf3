"""EG205, EG206 and EG208: steps that do not reach the weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isfinite, prod
from statistics import median

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.causality import INPUTS
from edgeglass_diag.rules.cures import ABOVE_EPS
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.parameter_groups import listed, places
from edgeglass_diag.rules.series import Series
from edgeglass_diag.rules.training_state import (
    at_chance,
    hardly_fallen,
    loaded_and_random,
    matrices,
    partners_apart,
    still_rising,
    weight_matrices,
)
from edgeglass_diag.signals.losses import LOSS_TOTAL
from edgeglass_diag.signals.parameters import (
    GRADIENT_CLIP_FACTOR,
    GRADIENT_NORM,
    GRADIENT_NORM_CLIPPED,
    OPTIMIZER_BETA2,
    OPTIMIZER_EPS,
    OPTIMIZER_LR,
    UPDATE_RATIO,
)


@dataclass(frozen=True)
class NothingMoves(Rule):
    """An optimizer steps, the gradient is there, and the weights stay exactly what they are.

    Why: the learning rate is zero, or the step is smaller than half the spacing of the numbers (bfloat16 weights keep
    8 bits: steps below about 2e-3 of a weight are lost), or the optimizer holds other tensors than the model.

    Formula: |delta w| = 0 with |gradient| > 0 in every recorded window so far, over at least ``steps`` steps and
    ``windows`` windows. Where some matrices move and others do not, those that were loaded are silent: a rate of zero
    is a way to freeze.
    """

    steps: int = 5
    windows: int = 4

    code = "EG205"
    name = "nothing-moves"
    title = "Weights do not move"
    severity = Severity.CRITICAL
    page = "gradients"
    signals = (UPDATE_RATIO, GRADIENT_NORM, OPTIMIZER_LR)
    source = "derived; TrainCheck: step() really changes parameters; WeakCLIP #2 (freezing by lr = 0 stalls new layers)"
    fix = "Look at the learning rate of the group; keep float32 copies of bfloat16 weights; make the optimizer last."
    cures = (
        Intervention("optimizer.lr_at_least", 1e-3),  # as of Adam
        Intervention("optimizer.lr_at_least", 0.1),  # as of SGD
        Intervention("optimizer.include"),
    )
    faulty = "{'params': head.parameters(), 'lr': 0.0}"
    healthy = "{'params': head.parameters(), 'lr': 1e-3}"
    brought_by = ("EG801",)

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for the whole, or one per tower or head that does not move."""
        sites = matrices(history)
        still = [site for site in sites if self._is_still(history, site)]
        if not still:
            return
        if len(still) == len(sites):
            rates = [value for _, series in history.of(OPTIMIZER_LR) for value in series.values]
            zero = bool(rates) and not any(rates)
            said = "the learning rate is 0" if zero else self._rates(history)
            finding = self.finding(
                history,
                f"none has changed in {history.last_step + 1} steps ({said})",
                evidence={"matrices": len(still)},
                fix=self._remedy(history),
            )
            yield replace(finding, fix=_ZERO_RATE) if zero else finding
            return
        loaded, _ = loaded_and_random(history)
        for place, names in places(site for site in still if site not in loaded):
            yield self.finding(
                history,
                f"{listed(names, 'gets gradients and has', 'get gradients and have')} not changed in "
                f"{history.last_step + 1} steps "
                f"({self._rates(history)})",
                site=place,
                evidence={"parameters": names},
                fix=self._remedy(history),
            )

    def _remedy(self, history: History) -> str:
        idle = [group for group, series in history.of(OPTIMIZER_LR) if not any(series.values)]
        return f"Give {idle[0]} a learning rate above 0; it has had 0 in every step." if idle else ""

    def _is_still(self, history: History, site: str) -> bool:
        ratios = history.series(UPDATE_RATIO, site)
        if not len(ratios) or ratios.last != 0 or ratios.first != 0:
            return False
        state = ratios.streak(lambda _, value: value == 0)
        if state is None or state.windows < len(ratios):
            return False
        moved = history.series(GRADIENT_NORM, site)
        return state.lasting(steps=self.steps, windows=self.windows) and max(moved.values, default=0.0) > 0

    def _rates(self, history: History) -> str:
        return ", ".join(f"{site}: lr {series.last:.2g}" for site, series in history.of(OPTIMIZER_LR))


_ZERO_RATE = "Set a learning rate above 0; look at the scheduler for a factor of 0, as an integer division makes it."


@dataclass(frozen=True)
class MovesTooLittle(Rule):
    """The steps are so small that nothing can be learned at this rate.

    Why: about 1e-3 of a weight per step is usual. A hundred thousand steps of 1e-6 do what a hundred usual ones do.

    Formula: the median over the weight matrices of |delta w| / |w|, summed over the last ``steps`` steps, is below
    ``way``, without being zero, and the loss is no more than a tenth better than chance. During a warm-up that still
    rises it waits: the rate must have been level, or have doubled no more, over those steps; a warm-up that never
    ends is EG212. Weights that have moved by ``moved`` since the beginning are silent: what stopped them is not the
    rate. Where the loss has no known chance level, it is said at the end, of matrices that were drawn at random: half
    of them moved over at least ``whole`` steps by no more than that on average, or by less than ``moved`` in all, and
    the loss came down by less than a tenth, or what it compares is no nearer than strangers.
    """

    way: float = 0.002
    steps: int = 40
    moved: float = 0.04
    whole: int = 100

    code = "EG206"
    name = "moves-too-little"
    title = "Updates too small to learn"
    severity = Severity.WARNING
    page = "gradients"
    signals = (UPDATE_RATIO, GRADIENT_NORM_CLIPPED)
    source = (
        "derived: 0.002 in 40 steps is 5e-5 a step, below TheDeepChecker's lower bound of 1e-4 and a twentieth of the "
        "usual 1e-3, by which 0.04 are 40 steps (https://cs231n.github.io/neural-networks-3/#ratio)"
    )
    fix = "Raise the learning rate; look at clipping, eps and the gradient's size."
    cures = (
        Intervention("optimizer.lr", 100),
        Intervention("optimizer.lr", 1e4),
        ABOVE_EPS,
        Intervention("optimizer.unclipped"),
    )
    refuted_by_learning = True
    faulty = "lr=2e-9"
    healthy = "lr=2e-4"
    brought_by = (
        "EG214",
        "EG802",
        "EG804",
        *INPUTS,
        "EG301",
        "EG208",
        "EG411",
        "EG413",
        "EG201",
        "EG103",
        "EG212",
        "EG405",
    )

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding for the whole model."""
        moved = self._lately(history) or self._idle(history)
        if moved is None:
            return
        way, steps = moved
        yield self.finding(
            history,
            f"the median weight matrix moved by {way:.1e} of its norm in {steps} steps",
            evidence={"way": way, "gradient": history.series(GRADIENT_NORM_CLIPPED).last},
            fix=self._remedy(history),
        )

    def _lately(self, history: History) -> tuple[float, int] | None:
        """Return how far the median matrix has come in the newest steps, if that is too little; else None."""
        if history.last_step < self.steps or not at_chance(history, steps=self.steps // 2):
            return None
        since = history.last_step - self.steps
        way = history.cumulated_update(max(0, since))
        if not 0 < way < self.way or still_rising(history, since) or history.cumulated_update(0) >= self.moved:
            return None
        return way, self.steps

    def _idle(self, history: History) -> tuple[float, int] | None:
        """Return how far the median random matrix has come in how many steps; None where it is far enough or unknown.

        Each is judged over the steps that it was given: an encoder has no more of them while a head is trained on it.
        """
        if not history.ended:
            return None
        loaded, _ = loaded_and_random(history)
        courses = [history.series(UPDATE_RATIO, site) for site in weight_matrices(history) if site not in loaded]
        courses = [course for course in courses if course.steps[-1] - course.steps[0] >= self.whole]
        still = [course for course in courses if 0 < self._way(course) < self._enough(course.steps[-1])]
        if not still or 2 * len(still) < len(courses):
            return None
        last = max(course.steps[-1] for course in still)
        if not (hardly_fallen(_until(history.series(LOSS_TOTAL), last), 0.1) or partners_apart(history, 0.1)):
            return None
        return median(self._way(course) for course in still), last

    def _enough(self, steps: int) -> float:
        """Return how far a matrix must come in so many steps to have had its chance."""
        return max(self.moved, self.way * steps / self.steps)

    def _way(self, course: Series) -> float:
        reach = [-1, *course.steps[:-1]]
        return sum(v * (s - b) for s, b, v in zip(course.steps, reach, course.values, strict=True) if isfinite(v))

    def _remedy(self, history: History) -> str:
        """Return what to do where Adam's eps is larger than the gradient of an entry; empty where it is not."""
        eps = max((series.last for _, series in history.of(OPTIMIZER_EPS)), default=0.0)
        entries = sum(prod(o.shape) for o in history.origins) or 1
        norm = history.series(GRADIENT_NORM)
        small = len(norm) > 0 and median(norm.values) / entries**0.5 < eps
        return f"Set eps to 1e-8 or multiply the loss: eps = {eps:.1g} is larger than the gradients." if small else ""


def _until(series: Series, step: int) -> Series:
    part = Series()
    for at, value in zip(series.steps, series.values, strict=True):
        if at <= step:
            part.append(at, value)
    return part


@dataclass(frozen=True)
class ClippedToNothing(Rule):
    """The gradient is always clipped, and to far less than it is.

    Why: with SGD clipping then sets the learning rate. Adam divides by the gradient's own size and does not mind,
    until the clipped gradient falls to its eps.

    Formula: clip factor below ``factor`` in at least 90 % of the recorded windows after the first ten, and the
    optimizer does not normalise (no betas), while the loss is no more than ``learned`` better than chance; or it
    does, and the clipped gradient per weight is below ``eps_share`` times eps and was above it before, which is enough
    in the newest ``windows`` windows. Anything milder is silent, and it is a fact (info) once nearly all answers are
    right.
    """

    factor: float = 0.1
    eps_share: float = 1.0
    windows: int = 6
    learned: float = 0.2

    code = "EG208"
    name = "clipped-to-nothing"
    title = "Gradients clipped to nothing"
    severity = Severity.WARNING
    page = "gradients"
    signals = (GRADIENT_CLIP_FACTOR, GRADIENT_NORM_CLIPPED, OPTIMIZER_EPS)
    source = "derived: Adam's step is g / (|g| + eps); clipping by c multiplies SGD's rate by c"
    fix = "Clip at the gradient's usual norm (1 is common), or raise the rate of SGD."
    cures = (Intervention("optimizer.unclipped"), ABOVE_EPS)
    hinders_learning = True
    faulty = "SGD; clip_grad_norm_(parameters, 1e-3)"
    healthy = "clip_grad_norm_(parameters, 1.0)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        factors = history.series(GRADIENT_CLIP_FACTOR)
        normalises = history.has(OPTIMIZER_BETA2)
        recent = factors.values[10:][-self.windows :] if normalises else factors.values[10:]
        if len(recent) < self.windows or sum(v < self.factor for v in recent) < 0.9 * len(recent):
            return
        eps = max((series.last for _, series in history.of(OPTIMIZER_EPS)), default=0.0)
        entries = sum(prod(o.shape) for o in history.origins) or 1
        per_weight = history.series(GRADIENT_NORM_CLIPPED).last / entries**0.5
        before = history.series(GRADIENT_NORM).last / entries**0.5
        swallowed = per_weight < self.eps_share * eps <= before
        harmed = swallowed if normalises else at_chance(history, tolerance=self.learned)
        if harmed:
            yield self.finding(
                history,
                f"multiplied by {median(recent):.1e} in the median, which leaves {per_weight:.1e} per weight, "
                + (
                    f"less than the optimizer's eps of {eps:.1e}"
                    if normalises
                    else "and the optimizer does not normalise"
                ),
                evidence={"factor": median(recent), "per_weight": per_weight, "eps": eps},
            )
