"""EG2xx: steps that do not reach the weights, and what acts on weights beside the loss."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import log
from statistics import median

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History, Series
from edgeglass_diag.rules.parameter_groups import listed, places
from edgeglass_diag.rules.training_state import loaded_and_random, matrices, still_rising, stuck


@dataclass(frozen=True)
class NothingMoves(Rule):
    """An optimizer steps, the gradient is there, and the weights stay exactly what they are.

    Why: the learning rate is zero, or the step is smaller than half the spacing of the numbers (bfloat16 weights keep
    8 bits: steps below about 2e-3 of a weight are lost), or the optimizer holds other tensors than the model.

    Formula: |delta w| = 0 with |gradient| > 0 in every recorded window so far, over at least ``steps`` steps and
    ``windows`` windows. Where some matrices move and others do not, those that were loaded are silent: a rate of zero
    is a way to freeze.
    """

    steps: float = 5
    windows: float = 4

    code = "EG205"
    name = "nothing-moves"
    severity = Severity.CRITICAL
    source = "derived; TrainCheck: step() really changes parameters; WeakCLIP #2 (freezing by lr = 0 stalls new layers)"
    fix = "Look at the learning rate of the group; keep float32 copies of bfloat16 weights; make the optimizer last."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding for the whole, or one per tower or head that does not move."""
        sites = matrices(history)
        still = [site for site in sites if self._still(history, site)]
        if not still:
            return
        if len(still) == len(sites):
            yield self.finding(
                history,
                f"no weight has moved in {history.last_step + 1} steps ({self._rates(history)})",
                evidence={"matrices": len(still)},
            )
            return
        loaded, _ = loaded_and_random(history)
        for place, names in places(site for site in still if site not in loaded):
            yield self.finding(
                history,
                f"{place}: {listed(names)} gets gradients and has not moved in {history.last_step + 1} steps "
                f"({self._rates(history)})",
                site=place,
                evidence={"parameters": names},
            )

    def _still(self, history: History, site: str) -> bool:
        ratios = history.series("update/ratio", site)
        if not len(ratios) or ratios.last != 0 or ratios.values[0] != 0:
            return False
        state = history.streak(("EG205", site), ratios, lambda _, value: value == 0)
        if state is None or state.windows < len(ratios):
            return False
        moved = history.series("gradient/norm", site)
        return state.lasting(steps=int(self.steps), windows=int(self.windows)) and max(moved.values, default=0.0) > 0

    def _rates(self, history: History) -> str:
        return ", ".join(f"{site}: lr {series.last:.2g}" for site, series in history.of("optimizer/lr"))


@dataclass(frozen=True)
class MovesTooLittle(Rule):
    """The steps are so small that nothing can be learned at this rate.

    Why: about 1e-3 of a weight per step is usual. A hundred thousand steps of 1e-6 do what a hundred usual ones do.

    Formula: the median over the weight matrices of |delta w| / |w|, summed over the last ``steps`` steps, is below
    ``way``, without being zero, and the loss is no more than a tenth better than chance. During a warm-up that still
    rises it waits: the rate must have been level, or have doubled no more, over those steps; a warm-up that never
    ends is EG212. Weights that have moved by ``moved`` since the beginning are silent: what stopped them is not the
    rate.
    """

    way: float = 0.002
    steps: float = 40
    moved: float = 0.04

    code = "EG206"
    name = "moves-too-little"
    severity = Severity.WARNING
    source = (
        "derived: 0.002 in 40 steps is 5e-5 a step, below TheDeepChecker's lower bound of 1e-4 and a twentieth of the "
        "usual 1e-3, by which 0.04 are 40 steps (https://cs231n.github.io/neural-networks-3/#ratio)"
    )
    fix = "Raise the learning rate; look at clipping, eps and the gradient's size."
    refuted_by_learning = True

    def check(self, history: History) -> Iterable[Finding]:
        """At most one finding for the whole model."""
        if history.last_step < self.steps or not stuck(history, steps=int(self.steps) // 2):
            return
        since = history.last_step - int(self.steps)
        way = history.cumulated_update(max(0, since))
        if not 0 < way < self.way or still_rising(history, since) or history.cumulated_update(0) >= self.moved:
            return
        yield self.finding(
            history,
            f"in {self.steps:.0f} steps the median weight matrix moved by {way:.1e} of its norm",
            evidence={"way": way, "gradient": history.series("gradient/norm_clipped").last},
        )


@dataclass(frozen=True)
class ClippedToNothing(Rule):
    """The gradient is always clipped, and to far less than it is.

    Why: with SGD clipping then sets the learning rate. Adam divides by the gradient's own size and does not mind,
    until the clipped gradient falls to its eps.

    Formula: clip factor below ``factor`` in at least 90 % of the recorded windows after the first ten, and the
    optimizer does not normalise (no betas), while the loss is no more than ``learned`` better than chance; or it
    does, and the clipped gradient per weight is below ``eps_share`` times eps and was above it before. Anything
    milder is silent.
    """

    factor: float = 0.1
    eps_share: float = 1.0
    windows: float = 6
    learned: float = 0.2

    code = "EG208"
    name = "clipped-to-nothing"
    severity = Severity.WARNING
    source = "derived: Adam's step is g / (|g| + eps); clipping by c multiplies SGD's rate by c"
    fix = "Clip at the gradient's usual norm (1 is common), or raise the rate of SGD."

    def check(self, history: History) -> Iterable[Finding]:
        """At most one finding."""
        factors = history.series("gradient/clip_factor")
        recent = factors.values[10:]
        if len(recent) < self.windows or sum(v < self.factor for v in recent) < 0.9 * len(recent):
            return
        normalises = any(True for _ in history.of("optimizer/beta2"))
        eps = max((series.last for _, series in history.of("optimizer/eps")), default=0.0)
        entries = sum(_entries(o.shape) for o in history.origins) or 1
        per_weight = history.series("gradient/norm_clipped").last / entries**0.5
        before = history.series("gradient/norm").last / entries**0.5
        swallowed = per_weight < self.eps_share * eps <= before
        harmed = swallowed if normalises else stuck(history, tolerance=self.learned)
        if harmed:
            yield self.finding(
                history,
                f"gradients are always clipped, by {median(recent):.1e} in the median: {per_weight:.1e} per weight is "
                + (f"left beside an eps of {eps:.1e}" if normalises else "left, and this optimizer does not normalise"),
                evidence={"factor": median(recent), "per_weight": per_weight, "eps": eps},
            )


@dataclass(frozen=True)
class DecayOnScale(Rule):
    """The logit scale is decayed as if it were a weight.

    Why: decay pulls ln s towards 0, that is, the scale towards 1, against what the loss asks for.

    Formula: a trained parameter of one entry that is at least 1 in magnitude, in a group with weight decay wd,
    with wd |w| at least ``pull``: Adam's normalised step is at most about 1 beside it. Its half-life is
    ln 2 / (lr wd) steps.
    """

    pull: float = 0.3

    code = "EG209"
    name = "decay-on-scale"
    severity = Severity.WARNING
    source = (
        "derived: AdamW's step is lr (m / sqrt(v) + wd w), |m| / sqrt(v) about 1 at most; open_clip spares parameters "
        "with fewer than two dimensions; 0.2 x ln(1 / .07) = 0.53, torch's default 0.01 gives 0.03"
    )
    fix = "Put the scale, gains and biases into a group without weight decay."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per parameter."""
        for site, size in history.of("weight/norm"):
            known = history.sites.get((site, "parameter"))
            if known is None or not known.parents or known.label.strip("1x"):
                continue  # the shape of a single entry is empty or of ones
            group = known.parents[0]
            decay, rate = history.series("optimizer/weight_decay", group), history.series("optimizer/lr", group)
            if not len(decay) or not len(rate) or size.values[0] < 1 or decay.last * size.values[0] < self.pull:
                continue
            peak = max(rate.values)
            life = log(2) / (peak * decay.last) if peak > 0 else float("inf")
            yield self.finding(
                history,
                f"{site} = {size.last:.3g} is decayed by {decay.last:.2g} ({group}): its half-life is {life:.0f} steps "
                f"at lr {peak:.2g}",
                site=site,
                evidence={"weight_decay": decay.last, "half_life": life, "group": group},
            )


@dataclass(frozen=True)
class WeightsDecay(Rule):
    """Weight decay empties the weights faster than the loss fills them.

    Why: what is learned is decayed before it adds up; the model ends as a constant.

    Formula: the median norm of the matrices with decay fell to at most ``left`` of what it was, by no more than decay
    alone explains (1 - lr wd in each step, to the power of 1 / 2 at least), and the loss is no more than a fifth
    better than chance.
    """

    left: float = 0.5
    steps: float = 10

    code = "EG210"
    name = "weights-decay"
    severity = Severity.WARNING
    source = "derived: with decoupled decay w shrinks by 1 - lr wd per step; TheDeepChecker: regularisation overwhelms"
    fix = "Lower the weight decay: lr x weight_decay x steps should stay well below 1."

    def check(self, history: History) -> Iterable[Finding]:
        """At most one finding."""
        if history.last_step < self.steps or not stuck(history, tolerance=0.2, steps=int(self.steps)):
            return
        left, groups = [], set()
        for site in matrices(history):
            known, size = history.sites.get((site, "parameter")), history.series("weight/norm", site)
            if known is not None and known.parents and history.started(site):
                left.append(size.last / size.values[0] if size.values[0] else 1.0)
                groups.add(known.parents[0])
        gone = max((self._exponent(history, group) for group in groups), default=0.0)
        if left and median(left) <= self.left and gone >= 0.5 * log(1 / max(median(left), 1e-30)):
            yield self.finding(
                history,
                f"the median weight matrix has {median(left):.1%} of its first norm left; weight decay alone takes it "
                f"to {100 * 2.718281828**-gone:.1f}%",
                evidence={"left": median(left), "decay_times_steps": gone},
            )

    def _exponent(self, history: History, group: str) -> float:
        rate, decay = history.series("optimizer/lr", group), history.series("optimizer/weight_decay", group)
        return _sum_over_steps(rate) * decay.last if len(rate) and len(decay) else 0.0


def _sum_over_steps(series: Series) -> float:
    reach = [-1, *series.steps[:-1]]
    return sum(v * (s - b) for s, b, v in zip(series.steps, reach, series.values, strict=True))


def _entries(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count
