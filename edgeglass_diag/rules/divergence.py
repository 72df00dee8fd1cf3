"""EG2xx: gradients that vanish, losses that diverge, learning that is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import isfinite
from statistics import median

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule, Stage
from edgeglass_diag.rules.causality import DIVERGENCE
from edgeglass_diag.rules.cures import ABOVE_EPS, CALMER
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.parameter_groups import listed
from edgeglass_diag.rules.training_state import MOVED
from edgeglass_diag.signals.losses import LOSS_CHANCE, LOSS_EXPLAINED, LOSS_TOTAL
from edgeglass_diag.signals.parameters import GRADIENT_NORM, UPDATE_RATIO
from edgeglass_diag.site_paths import common, is_within


@dataclass(frozen=True)
class GradientVanishes(Rule):
    """Some matrices get a gradient that is nothing compared with that of others.

    Why: a saturated function or a long product of small factors lies between; with Adam such a gradient drowns in
    eps, with SGD it moves nothing.

    Formula: |gradient| / sqrt(entries) of a matrix is below ``size`` and below ``ratio`` times the median over all
    matrices, without being zero, in every recorded window over at least ``steps`` steps and ``windows`` windows. A fact
    (info) once none of those in the same place has had one below ``size`` for as long: queries of an attention whose
    values are still alike have next to none, until these differ.
    """

    ratio: float = 1e-3
    size: float = 1e-8
    steps: int = 10
    windows: int = 5

    code = "EG201"
    name = "gradient-vanishes"
    title = "Vanishing gradient"
    severity = Severity.WARNING
    page = "gradients"
    signals = (GRADIENT_NORM,)
    source = (
        "AutoTrainer (ICSE 2021): ratio of first to last below 1e-3; 1e-8 is the eps of torch's Adam, below which its "
        "steps shrink"
    )
    fix = "Look at the first module behind these weights: saturated attention or activation, a tiny factor, a hook."
    cures = (ABOVE_EPS,)
    faulty = "torch.sigmoid(50 * x) in front of the tower"
    healthy = "nn.GELU()(x)"
    brought_by = ("EG103", "EG002", "EG301", *DIVERGENCE, "EG202")

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for all such matrices."""
        rms = self._per_weight(history)
        middle = median(rms.values()) if rms else 0.0
        small = [site for site, value in rms.items() if value < min(self.size, self.ratio * middle)]
        found = [site for site in small if self._lasting(history, site, self.size * history.roots[site])]
        if found:
            yield self.finding(
                history,
                f"{listed(found, 'gets', 'get')} {rms[found[0]]:.1e} per weight, others {middle:.1e}",
                site=common(found),
                evidence={"parameters": found[:20], "gradient": rms[found[0]], "median": middle},
            )

    def passed_since(self, history: History, finding: Finding) -> int | None:
        """Return since when the gradients of all matrices at the place of a finding have been of a usual size."""
        places = [site for site in history.roots if is_within(site, finding.site)]
        known = [(site, series) for site in places if len(series := history.series(GRADIENT_NORM, site))]
        states = [series.streak(self._is_usual(history.roots[site])) for site, series in known]
        lasting = [one for one in states if one is not None and one.lasting(steps=self.steps, windows=self.windows)]
        return max(one.since for one in lasting) if known and len(lasting) == len(known) else None

    def _is_usual(self, root: float) -> Callable[[int, float], bool]:
        return lambda _, norm: norm >= self.size * root

    def _per_weight(self, history: History) -> dict[str, float]:
        """Return |gradient| / sqrt(entries) of the matrices whose size is known."""
        return {
            site: series.last / history.roots[site]
            for site, series in history.of(GRADIENT_NORM)
            if site in history.roots and series.last > 0
        }

    def _lasting(self, history: History, site: str, limit: float) -> bool:
        series = history.series(GRADIENT_NORM, site)
        low = series.streak(lambda _, norm: 0 < norm < limit)
        return low is not None and low.lasting(steps=self.steps, windows=self.windows)


@dataclass(frozen=True)
class Diverging(Rule):
    """The loss rises far above where it began.

    Why: a loss above that of knowing nothing is that of being sure of the wrong thing, and it does not come back by
    itself: the learning rate is too high, or the scale has run away.

    Formula: the known part of the loss is larger than ``factor`` times the larger of its first value in this training
    of these weights and its chance level in the same window, in every recorded window over at least ``steps`` steps
    and ``windows`` windows. More candidates, a term with a growing weight, the turn of another optimizer or another
    stage of the training raise the chance level with the loss; a part that has no chance level, as a penalty that is
    faded in, is left out.
    """

    factor: float = 1.5
    steps: int = 5
    windows: int = 3

    code = "EG204"
    name = "diverging"
    title = "Loss diverges"
    severity = Severity.CRITICAL
    page = "gradients"
    signals = (LOSS_EXPLAINED, LOSS_CHANCE)
    source = "derived: random-init CLIP at scale 100 begins 1.45 times above ln 64, and falls from there"
    fix = "Lower the learning rate by 10 and warm up; clip the gradient."
    cures = CALMER
    stages = (Stage.RUN, Stage.LOG)
    faulty = "loss 4.85, 4.9, 9.7, 31"
    healthy = "loss 6.02, 5.1, 4.3 (a large scale at the start)"
    brought_by = ("EG801", "EG242", "EG407", "EG303", "EG211", "EG202")

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding for the whole loss."""
        total, chance = history.series(LOSS_EXPLAINED), history.series(LOSS_CHANCE)
        first = next((value for _, value in total.since(history.begun) if isfinite(value)), 0.0)
        if first <= 0:
            return

        def far_above(step: int, value: float) -> bool:
            return not value <= self.factor * max(first, chance.at(step))

        state = total.streak(far_above)
        if state is None or not isfinite(total.last):
            return
        if state.lasting(steps=self.steps, windows=self.windows):
            yield self.finding(
                history,
                f"it is {total.last:.4g}, began at {first:.4g}, and is far above that since step {state.since}",
                since=state.since,
                evidence={"loss": total.last, "first": first},
            )


_CHANGED = (
    "Look at the batches from that step on: are images and texts still in the same order, and from the same data? "
    "Where the task was changed on purpose, go on."
)
_RELOAD = (
    "Load the weights again and lower the learning rate by 10, with a warm-up: the first steps have destroyed what the "
    "weights held."
)


@dataclass(frozen=True)
class ForgetsWhatItLearned(Rule):
    """The loss was well below chance, and is back at it.

    Why: what was learned is gone; too large a step, an overflow, or data that changed.

    Formula: the loss was at least ``learned`` (relative) below its chance level in three recorded windows, and has
    been no more than ``back`` below it since, over at least ``steps`` steps and ``windows`` windows. The first window
    alone is enough where it was ``brought`` below and the weights moved by a fifth before the loss was at chance: they
    held that much when the training began, as loaded ones do. Windows whose
    chance level differs by more than ``back`` from the one of now had another task (more candidates, another term) and
    tell nothing, nor do those of an earlier training, of other weights. Where the weights moved by less than a fifth
    from the last such window to the first at chance, they still hold what they held: data or task have changed. That
    is a warning, and critical at the end of the training or when it has lasted for ``long`` steps, half of those in
    which weights move by a fifth at the usual rate.
    """

    learned: float = 0.2
    brought: float = 0.5
    back: float = 0.05
    steps: int = 10
    windows: int = 3
    long: int = 100

    code = "EG207"
    name = "learning-lost"
    title = "Learned and forgotten"
    severity = Severity.CRITICAL
    page = "gradients"
    signals = (LOSS_TOTAL, LOSS_CHANCE)
    source = (
        "derived: a fifth of ln B is far beyond the noise of a batch; a model that was drawn at random begins at its "
        "chance level or above, so that half of it below is what was loaded; open_clip #41 (a jump, then a plateau)"
    )
    fix = "Go back to a checkpoint from before, with a third of the learning rate and the gradient clipped."
    cures = CALMER
    faulty = "loss 4.85, 2.1, 4.85, 4.85"
    healthy = "loss 4.85, 2.1, 2.3, 1.9"
    brought_by = ("EG801", "EG242", "EG204", "EG211", "EG202", "EG104")

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding for the whole loss."""
        relative = history.relative_loss
        lost = relative.streak(lambda _, value: value >= -self.back)
        if lost is None or not lost.lasting(steps=self.steps, windows=self.windows):
            return
        known = [(step, value) for step, value in self._of_this_task(history) if value <= -self.learned]
        if not known:
            return
        best = min(value for _, value in known)
        moved = history.cumulated_update(known[-1][0]) - history.cumulated_update(lost.since)
        kept = moved < MOVED and history.has(UPDATE_RATIO)
        loaded = known[0][0] == history.relative_loss.since(history.begun)[0][0] and known[0][1] <= -self.brought
        if len(known) < 3 and not (loaded and moved >= MOVED):
            return
        late = history.ended or lost.span >= self.long
        yield self.finding(
            history,
            f"the loss was {-best:.0%} below chance and is back at it since step {lost.since}"
            + (f", although the weights moved by {moved:.1%} only: data or task have changed" if kept else ""),
            severity=Severity.WARNING if kept and not late else Severity.CRITICAL,
            since=lost.since,
            evidence={"best": best, "now": relative.last, "moved": moved},
            fix=_CHANGED if kept else _RELOAD if len(known) < 3 else "",
        )

    def _of_this_task(self, history: History) -> list[tuple[int, float]]:
        """Return the relative losses of the windows whose chance level is that of now, by step."""
        relative, chance = history.relative_loss, history.series(LOSS_CHANCE)
        readings = relative.since(history.begun)
        return [r for r in readings if abs(chance.at(r[0]) - chance.last) <= self.back * chance.last]
