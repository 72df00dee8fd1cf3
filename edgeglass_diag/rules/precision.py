"""EG8xx: half precision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.series import Series, Streak
from edgeglass_diag.rules.training_state import at_chance, matrices, still_rising
from edgeglass_diag.signals.activations import PRECISION_FLOAT16
from edgeglass_diag.signals.parameters import (
    GRADIENT_CLIPPED_SCALED,
    GRADIENT_NORM,
    GRADIENT_NORM_CLIPPED,
    OPTIMIZER_LOSS_SCALE,
    OPTIMIZER_SKIPPED,
    UPDATE_RATIO,
    UPDATE_ROUNDED_AWAY,
)


@dataclass(frozen=True)
class HalfWithoutScaler(Rule):
    """float16 without a loss scaler, and gradients vanish in it.

    Why: the smallest float16 is 6e-8; what is smaller becomes 0, and the weights behind it are not trained.

    Formula: modules give out float16, no GradScaler scales the loss, and at least ``share`` of the weight matrices have
    a gradient of exactly 0, in at least ``windows`` recorded windows in a row.
    """

    share: float = 0.1
    windows: int = 3

    code = "EG802"
    name = "float16-underflow"
    title = "Gradients underflow in float16"
    severity = Severity.CRITICAL
    page = "gradients"
    signals = (GRADIENT_NORM, PRECISION_FLOAT16)
    source = "IEEE 754 binary16: the smallest subnormal is 2^-24; https://arxiv.org/abs/1710.03740 (loss scaling)"
    fix = "Use torch.amp.GradScaler, or bfloat16."
    cures = (Intervention("autocast.off"),)
    faulty = "autocast(dtype=float16) and loss.backward()"
    healthy = "scaler.scale(loss).backward()"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        half = history.series(PRECISION_FLOAT16)
        if len(half) < self.windows or len(history.series(OPTIMIZER_LOSS_SCALE)):
            return
        gradients = [history.series(GRADIENT_NORM, site) for site in matrices(history)]
        recent = half.steps[-self.windows :]
        shares = [sum(series.at(step) == 0 for series in gradients) / max(1, len(gradients)) for step in recent]
        if min(shares) >= self.share:
            yield self.finding(
                history,
                f"{shares[-1]:.0%} of the weight matrices have a gradient of exactly 0, and there is no loss scaler",
                evidence={"share": shares[-1], "float16": half.last},
            )


@dataclass(frozen=True)
class StepsSkipped(Rule):
    """The loss scaler keeps skipping steps.

    Why: it halves its factor at each overflow and has found its range within some twenty steps; where it goes on
    skipping, gradients are infinite whatever the factor.

    Formula: at least ``share`` of the recorded windows after step ``settle`` were skipped, of at least ``windows``.
    """

    share: float = 0.3
    settle: int = 25
    windows: int = 4

    code = "EG803"
    name = "steps-skipped"
    title = "Loss scaler skips steps"
    severity = Severity.CRITICAL
    page = "gradients"
    signals = (OPTIMIZER_SKIPPED, OPTIMIZER_LOSS_SCALE)
    source = "derived: from 2^16 down to 2^-8 it takes 24 halvings; afterwards one overflow in 2000 steps by design"
    fix = "Look for the operation that overflows (a norm, an exp, a division) and take it in float32."
    cures = (Intervention("autocast.off"),)
    faulty = "a third of the steps skipped after step 25"
    healthy = "two steps skipped at the start"
    brought_by = ("EG509",)

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        skipped = {s for s in history.series(OPTIMIZER_SKIPPED).steps if s > self.settle}
        scale = history.series(OPTIMIZER_LOSS_SCALE)
        late = [step for step in scale.steps if step > self.settle]
        if len(late) >= self.windows and len(skipped) >= self.share * len(late):
            yield self.finding(
                history,
                f"{len(skipped)} of {len(late)} recorded steps after step {self.settle} were skipped (scale "
                f"{scale.last:.3g})",
                evidence={"skipped": len(skipped), "recorded": len(late), "scale": scale.last},
            )


@dataclass(frozen=True)
class StepsRoundedAway(Rule):
    """Weights are kept in half precision, and most steps are lost to rounding.

    Why: a bfloat16 weight has 8 bits, so that a step below 2^-9 = 2e-3 of it changes nothing, however often it is
    taken; the usual step is 1e-3 of a weight (https://cs231n.github.io/neural-networks-3/#ratio). Only what is small
    among the weights moves.

    Formula: in the median weight matrix of 16 bits a share of at least ``share`` of the entries is exactly what it was
    before the step, in every recorded window over at least ``steps`` steps and ``windows`` windows, and what is left
    moves the median weight matrix by less than ``way`` a step, while the loss is no more than a tenth better than
    chance and no learning rate has more than doubled, as in a warm-up. A model that moves all the same is silent.
    """

    share: float = 0.8
    way: float = 1e-4
    steps: int = 40
    windows: int = 5

    code = "EG804"
    name = "steps-rounded-away"
    title = "Updates lost to rounding"
    severity = Severity.WARNING
    page = "gradients"
    signals = (UPDATE_ROUNDED_AWAY, UPDATE_RATIO)
    source = (
        "derived: rounding to nearest loses a step below 2^-9 |w|; of normal weights at least 61 % lose one of 1e-3 of "
        "their standard deviation, which is usual, and at least 80 % one of half of that; TheDeepChecker: an update "
        "below 1e-4 of the weight is too small"
    )
    fix = "Keep the weights in float32 and compute under torch.autocast(dtype=torch.bfloat16)."
    cures = (Intervention("optimizer.lr", 10),)
    faulty = "model.bfloat16(); AdamW(model.parameters(), lr=2e-5)"
    healthy = "torch.autocast(dtype=torch.bfloat16)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        lost = dict(history.of(UPDATE_ROUNDED_AWAY))
        if not lost or not at_chance(history, steps=self.steps):
            return
        before = max(0, history.last_step - self.steps)
        way = history.cumulated_update(before) / self.steps
        if way >= self.way or still_rising(history, before):
            return
        low = {site: state for site, series in lost.items() if (state := self._lost(series))}
        if len(low) <= len(lost) / 2:
            return
        share = median(series.last for series in lost.values())
        since = int(median(state.since for state in low.values()))
        yield self.finding(
            history,
            f"a step leaves {share:.0%} of the entries of the median 16-bit weight matrix as they were since step "
            f"{since}, and changes it by {way:.1e} of its norm",
            since=since,
            evidence={"rounded_away": share, "update": way, "matrices": len(lost)},
        )

    def _lost(self, series: Series) -> Streak | None:
        state = series.streak(lambda _, value: value >= self.share)
        return state if state and state.lasting(steps=self.steps, windows=self.windows) else None


@dataclass(frozen=True)
class ClippedWhileScaled(Rule):
    """Gradients are clipped while they still carry the factor of the loss scaler.

    Why: they are 2^16 times too long then, so that each step is clipped, to the bound divided by that factor: the
    bound acts no longer on outliers alone, all steps become equally long, and SGD hardly moves.

    Formula: gradients are multiplied before ``scaler.step`` without ``scaler.unscale_``, and what is left, times the
    factor, is one and the same length (the bound) to ``tolerance`` in the last ``windows`` such windows, while the
    gradients themselves differ by more. A division by tokens or ranks leaves no length the same, and is silent.
    """

    tolerance: float = 0.01
    windows: int = 6

    code = "EG805"
    name = "clipped-while-scaled"
    title = "Gradients clipped before unscaling"
    severity = Severity.WARNING
    page = "gradients"
    signals = (GRADIENT_NORM_CLIPPED, OPTIMIZER_LOSS_SCALE, GRADIENT_CLIPPED_SCALED)
    source = "https://docs.pytorch.org/docs/stable/notes/amp_examples.html#gradient-clipping; float16 rounds to 1e-3"
    fix = "Call scaler.unscale_(optimizer) before clipping."
    cures = (Intervention("optimizer.unclipped"),)
    faulty = "scaler.scale(loss).backward(); clip_grad_norm_(parameters, 1.0); scaler.step(optimizer)"
    healthy = "scaler.scale(loss).backward(); scaler.unscale_(optimizer); clip_grad_norm_(parameters, 1.0)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per optimizer."""
        for site, clips in history.of(GRADIENT_CLIPPED_SCALED):
            steps = clips.steps[-self.windows :]
            if len(steps) < self.windows:
                continue
            scale, left = history.series(OPTIMIZER_LOSS_SCALE), history.series(GRADIENT_NORM_CLIPPED, site)
            given = history.series(GRADIENT_NORM, site)
            bounds = [left.at(step) * scale.at(step) for step in steps]
            if self._equal(bounds) and not self._equal([given.at(step) for step in steps]):
                yield self.finding(
                    history,
                    f"they are clipped to {bounds[-1]:.3g} while they carry the loss scale of {scale.last:.3g}, so "
                    f"that {bounds[-1] / scale.last:.1e} is left of {given.last:.1e}",
                    site=site,
                    evidence={"bound": bounds[-1], "scale": scale.last, "norm": given.last},
                )

    def _equal(self, lengths: list[float]) -> bool:
        return min(lengths) > 0 and max(lengths) <= (1 + self.tolerance) * min(lengths)
