"""EG2xx: what happens between the steps: gradients that outlive them or do not live until then, steps undone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.weights_returned import returns
from edgeglass_diag.signals.parameters import (
    GRADIENT_CLEARED,
    GRADIENT_DROPPED,
    GRADIENT_NORM,
    GRADIENT_UNCLEARED,
    UPDATE_REVERTED,
    WEIGHT_NORM,
)


@dataclass(frozen=True)
class GradientsPileUp(Rule):
    """Gradients of earlier steps are never cleared.

    Why: each step repeats all former ones; the direction is that of the past, and its norm grows with every step.

    Formula: before each backward pass of a recorded window, of accumulation the first, the parameters of the first
    optimizer hold a gradient that is not zero, in at least ``windows`` recorded windows in a row. A warning while the
    model learns, and a fact (info) once nearly all of its answers are right: clipped to one norm, the pile is a
    momentum whose memory is as many steps as that norm has gradients, and a model learns by it where this is short.
    """

    windows: int = 3

    code = "EG211"
    name = "gradients-pile-up"
    title = "Gradients pile up"
    severity = Severity.CRITICAL
    page = "gradients"
    signals = (GRADIENT_UNCLEARED, GRADIENT_NORM)
    source = "derived: backward adds to .grad; openai/CLIP #362"
    fix = "Call optimizer.zero_grad() once per step, before the first backward."
    cures = (Intervention("optimizer.clear_gradients"),)
    hinders_learning = True
    faulty = "loss.backward(); optimizer.step()"
    healthy = "optimizer.zero_grad(); loss.backward(); optimizer.step()"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        uncleared = history.series(GRADIENT_UNCLEARED)
        state = uncleared.streak(lambda _, value: value > 0)
        if state is not None and state.windows >= self.windows:
            first, last = history.series(GRADIENT_NORM).first, history.series(GRADIENT_NORM).last
            yield self.finding(
                history,
                f"those of earlier steps are still there when backward begins, since step {state.since}, and the norm "
                f"went from {first:.3g} to {last:.3g}",
                since=state.since,
                evidence={"uncleared": uncleared.last, "first_norm": first, "norm": last},
            )


@dataclass(frozen=True)
class GradientsCleared(Rule):
    """Gradients are cleared between the backward pass and the step.

    Why: the optimizer steps with nothing. With momentum or weight decay the weights still move a little, so that only
    the loss tells.

    Formula: parameters of the first optimizer that held a gradient after the last backward pass hold none, or zeros,
    when it steps, in every recorded window that was asked, and in at least ``windows`` of them.
    """

    windows: int = 3

    code = "EG214"
    name = "gradients-cleared"
    title = "Gradients cleared before the step"
    severity = Severity.CRITICAL
    page = "gradients"
    signals = (GRADIENT_CLEARED,)
    source = (
        "derived: the step reads .grad; https://pytorch.org/docs/stable/generated/torch.optim.Optimizer.zero_grad.html"
    )
    fix = "Call optimizer.zero_grad() before backward or after step, not between them."
    faulty = "loss.backward(); optimizer.zero_grad(); optimizer.step()"
    healthy = "optimizer.zero_grad(); loss.backward(); optimizer.step()"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        cleared = history.series(GRADIENT_CLEARED)
        state = cleared.streak(lambda _, value: value == 1)
        if state is not None and state.windows >= self.windows and state.windows == len(cleared):
            yield self.finding(
                history,
                f"backward gives gradients, and none is left when the optimizer steps, since step {state.since}",
                since=state.since,
                evidence={"windows": state.windows},
            )


@dataclass(frozen=True)
class AccumulationLost(Rule):
    """Gradients are cleared between the backward passes of one step.

    Why: accumulation adds up the gradients of several batches. Cleared in between, the step sees the last of them: the
    others are computed for nothing, and the batch is not what it was meant to be.

    Formula: in a ``share`` of the recorded windows, of all and of the first ``dense``, and in at least ``windows`` of
    them, gradients of a backward pass, in some parameters of the first optimizer, are gone before the next one. The two
    passes have other batches and the same weights, no function takes the gradients and no optimizer steps between them,
    and the step gets those of the last pass, up to clipping: else they may have been used (SAM, attacks on inputs,
    noise scales, gradients that are put together by hand). What is done now and then, as every tenth step, loses
    nothing of the other steps and is silent.
    """

    windows: int = 3
    share: float = 0.8
    dense: int = 10

    code = "EG217"
    name = "accumulation-lost"
    title = "Accumulated gradients lost"
    severity = Severity.WARNING
    page = "gradients"
    signals = (GRADIENT_DROPPED,)
    source = (
        "derived: backward adds to .grad; https://pytorch.org/docs/stable/notes/amp_examples.html, accumulation; "
        "what is done every second step is in half of the windows of successive steps, and a loader's last group of "
        "batches is smaller: the share lies between half and all; the schedule records steps 1 to 10"
    )
    fix = "Call optimizer.zero_grad() after optimizer.step() only, not for each batch that is accumulated."
    faulty = "for batch in four: optimizer.zero_grad(); (loss(batch) / 4).backward()"
    healthy = "optimizer.zero_grad() before the four"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        dropped = history.series(GRADIENT_DROPPED)
        lost = [step for step, value in zip(dropped.steps, dropped.values, strict=True) if value > 0]
        shares = [
            sum(value > 0 for value in values) / len(values)
            for values in (dropped.values, dropped.values[: self.dense])
            if values
        ]
        if all(share >= self.share for share in shares) and len(lost) >= self.windows and dropped.last > 0:
            yield self.finding(
                history,
                f"{dropped.last:.0%} of those before the last backward pass of a step are cleared before the next "
                f"pass, since step {lost[0]}",
                since=lost[0],
                evidence={"dropped": dropped.last, "windows": len(lost)},
            )


@dataclass(frozen=True)
class StepsUndone(Rule):
    """Something else than the optimizer takes each step back.

    Why: an average of weights that is copied the wrong way round, or a checkpoint that is loaded again and again, pulls
    the weights back to where they were; gradients and updates look well, and nothing adds up.

    Formula: between one step u and the next something else changes a few matrices of the first optimizer by o, and
    -<o, u> / <u, u> is in the median at least ``share``, in every recorded window that directly follows another, and in
    at least ``windows`` of them. To clip or to normalise the weights is at right angles to most of a step, and silent.
    Or the norms of all parameters are exactly those of an earlier step, after others between, in at least ``returns``
    recorded windows, and the optimizer goes on with its momentum or second moment: one that is new, as for each fold of
    a cross-validation, begins anew and is silent. A warning while the model learns all the same, and a fact (info) once
    nearly all of its answers are right.
    """

    share: float = 0.25
    windows: int = 4
    returns: int = 2

    code = "EG215"
    name = "steps-undone"
    title = "Optimizer steps taken back"
    severity = Severity.CRITICAL
    page = "gradients"
    signals = (UPDATE_REVERTED, WEIGHT_NORM)
    source = (
        "derived: what pulls a share a back to a fixed place undoes a of the first step and, where it comes to rest, "
        "all of each; in n dimensions a change that knows nothing of the step has a share of about 1 / sqrt(n); three "
        "norms in float32 do not come back by chance; once is a search for the rate, or the best weights restored"
    )
    fix = "Look at what writes the weights after optimizer.step(): an EMA's direction, load_state_dict, copy_."
    hinders_learning = True
    faulty = "ema(into=model, of=teacher) after each step"
    healthy = "ema(into=teacher, of=model) after each step"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        shares = history.series(UPDATE_REVERTED)
        state = shares.streak(lambda _, value: value >= self.share)
        if state is not None and state.windows == len(shares) >= self.windows:
            yield self.finding(
                history,
                f"the weights are written again after each step, and {shares.last:.0%} of it is taken back, since step "
                f"{state.since}",
                since=state.since,
                evidence={"reverted": shares.last},
            )
            return
        back = returns(history)
        if len(back) >= self.returns:
            yield self.finding(
                history,
                f"all weights are again exactly what they were at step {back[-1].origin}, at step {back[-1].step} and "
                f"in {len(back)} recorded windows in all, and the optimizer has gone on meanwhile",
                since=back[0].origin,
                evidence={"returns": len(back), "step": back[-1].step, "origin": back[-1].origin},
            )
