"""EG4xx: the loss."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

from edgeglass_diag.measures.chance import chance_loss, contrastive_floor, wrong_answers_floor
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.embeddings import constant_since
from edgeglass_diag.rules.history import History, held
from edgeglass_diag.rules.training_state import MOVED, is_softmax, no_better_than_chance, side_wakes


@dataclass(frozen=True)
class LossAtChance(Rule):
    """The loss stays where knowing nothing puts it: the weighted sum of ln B over its cross-entropies.

    Why: 4.852 at batch 128 looks like a number and is ln 128. The weight of each term is read off its gradient
    and its candidates off its logits, so accumulation, term weights and partial batches are counted in.

    Formula: loss >= (1 - ``tolerance``) x sum w ln B in every recorded window over at least ``steps`` steps and
    ``windows`` windows, and the weights have moved by a fifth meanwhile, or the logits lost their spread.
    Critical where the logits cannot tell pairs apart: they do not vary (std within a row at most ``flat``, worth
    flat^2 / 2 nats), or one side of them is constant (EG301), and no side that is constant gains signal just now.
    Otherwise it takes ``long`` steps and an in-batch
    accuracy that is not significantly above 1/B, as with mispaired data, and is a warning.
    """

    tolerance: float = 0.01
    steps: float = 20
    windows: float = 4
    flat: float = 0.1
    long: float = 200

    code = "EG401"
    name = "loss-at-chance"
    severity = Severity.CRITICAL
    source = "derived: uniform softmax; https://github.com/mlfoundations/open_clip/issues/17 (4.8xxx at batch 128)"
    fix = "Find what makes the logits uninformative (see the finding this follows from); lower the learning rate by 10."
    refuted_by_learning = True

    def check(self, history: History) -> Iterable[Finding]:
        """At most one finding for the whole loss."""
        state = no_better_than_chance(history, self.tolerance)
        if state is None or not state.lasting(steps=int(self.steps), windows=int(self.windows)):
            return
        how = self._uninformed(history)
        moved = history.cumulated_update(state.since) >= MOVED
        if how and not (moved or max(history.logit_spread.values, default=0.0) > 3 * self.flat):
            return
        no_better = state.span >= self.long and moved and guessing(history, state.since)
        if not how and not no_better:
            return
        total, chance = history.series("loss/total").last, history.series("loss/chance").last
        yield self.finding(
            history,
            f"the loss {total:.4f} is no better than its chance level {chance:.4f} ({_terms(history)}) since step "
            f"{state.since}: {how or 'the in-batch accuracy is that of guessing'}",
            severity=Severity.CRITICAL if how else Severity.WARNING,
            evidence={
                "loss": total, "chance": chance, "relative": history.relative_loss.last, "since": state.since,
                "logit_std": history.logit_spread.last, "accuracy": _accuracy(history, state.since)[0],
            },
        )  # fmt: skip

    def _uninformed(self, history: History) -> str:
        """Why the logits cannot tell pairs apart, in words; empty where they might, or are about to."""
        if side_wakes(history):
            return ""
        uniform = held(history.logit_spread, lambda _, value: value <= self.flat)
        if uniform is not None and uniform.lasting(steps=int(self.steps), windows=int(self.windows)):
            return "the softmax is uniform"
        constant = constant_since(history)
        if constant is not None and constant.lasting(steps=int(self.steps), windows=int(self.windows)):
            return "one side of the logits is constant"
        return ""


CONTRASTIVE_VALIDATION = {f"metric/{name}" for name in ("val/loss", "val_loss", "eval/loss", "eval_loss", "val/clip")}
"""Names under which loops log the contrastive loss on held-out pairs, the set that recalls are measured on."""


@dataclass(frozen=True)
class LossBelowPossible(Rule):
    """A logged loss is lower than any model could make it beside the scale or the recall that goes with it.

    Why: such a value was never computed (a term that exists only in training mode and is averaged as 0), or
    another thing was computed under its name.

    Formula: a wrong answer costs at least ln 2. With R@10 = r over N pairs at most the share
    r + (1-r) (1 - 10/(N-1))^(B-1) is answered right within batches of B, so loss >= (1 - share) ln 2; and with
    cosines as logits loss >= ln(1 + (B-1) exp(-s B/(B-1))). Below ``share`` of the larger bound is flagged.
    """

    share: float = 0.5

    code = "EG402"
    name = "loss-below-possible"
    severity = Severity.CRITICAL
    source = "derived: softmax arithmetic; a validation loss of 0.0 beside R@5 = 78 % in the Edge Glass report"
    fix = "Look at how this value is made: is the term computed in evaluation mode, and averaged over what it counted?"

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per logged loss."""
        bound, why = self._bound(history)
        for signal in history.signals("metric/"):
            if signal not in CONTRASTIVE_VALIDATION:
                continue
            series = history.series(signal)
            if len(series) and series.last < self.share * bound:
                name = signal.removeprefix("metric/")
                yield self.finding(
                    history,
                    f"{name} = {series.last:.4g} at step {series.steps[-1]} cannot be: at least {bound:.3g} by {why}",
                    site=name,
                    evidence={"value": series.last, "bound": bound, "step": series.steps[-1]},
                )

    def _bound(self, history: History) -> tuple[float, str]:
        batch = max((int(series.last) for _, series in history.of("loss/candidates")), default=0)
        if batch < 2:
            return 0.0, ""
        scale = max((series.last for _, series in history.of("embedding/scale")), default=100.0)
        bounds = [(contrastive_floor(scale, batch), f"a logit scale of {scale:.3g} over {batch} candidates")]
        gallery = history.series("metric/n")
        for way in ("i2t", "t2i"):
            recall = history.series(f"metric/{way}/R@10")
            if len(recall) and len(gallery) and gallery.last > 20:
                outside = max(0.0, 1 - 10 / (gallery.last - 1)) ** (batch - 1)
                right = recall.last + (1 - recall.last) * outside
                why = f"{way} R@10 = {recall.last:.3f} over {gallery.last:.0f} pairs"
                bounds.append((wrong_answers_floor(min(1.0, right)), why))
        return max(bounds)


@dataclass(frozen=True)
class TemperatureMissing(Rule):
    """The logit scale is so small that even a perfect model keeps a loss near chance.

    Why: cosines lie within [-1, 1]; without a temperature (or multiplied by it instead of divided) the softmax
    over B of them is nearly uniform whatever the embeddings are, and so is its gradient.

    Formula: the least loss of B unit embeddings at scale s, ln(1 + (B-1) exp(-s B/(B-1))), is at least ``share``
    of ln B in every recorded window over at least ``steps`` steps and ``windows`` windows.
    """

    share: float = 0.5
    steps: float = 20
    windows: float = 4

    code = "EG403"
    name = "temperature-missing"
    severity = Severity.WARNING
    source = (
        "derived: regular simplex; s = 1 at B = 128 leaves 3.858 of 4.852, CLIP's 1/0.07 leaves 0 "
        "(https://arxiv.org/abs/2103.00020)"
    )
    fix = "Divide the cosines by a temperature of about 0.07, or learn the scale from ln(1/0.07)."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per pair of sides."""
        sizes = [int(s.last) for site, s in history.of("loss/candidates") if is_softmax(history, site)]
        batch = max(sizes, default=0)
        if batch < 2:
            return
        chance = chance_loss(batch)
        for pair, series in history.of("embedding/scale"):
            bound = held(series, lambda _, s: s >= 0 and contrastive_floor(s, batch) >= self.share * chance)
            if bound is None or not bound.lasting(steps=int(self.steps), windows=int(self.windows)):
                continue
            floor = contrastive_floor(series.last, batch)
            yield self.finding(
                history,
                f"the logits are {series.last:.3g} x cosine since step {bound.since}: over {batch} candidates no model "
                f"gets below {floor:.3f}, and chance is {chance:.3f}",
                site=pair,
                evidence={"scale": series.last, "floor": floor, "chance": chance, "since": bound.since},
            )


def _accuracy(history: History, since: int) -> tuple[float, float, float]:
    """Mean in-batch accuracy since a step, its chance level, and the number of answers."""
    hits, answers, expected = history.answers(since)
    return (hits / answers, expected / answers, answers) if answers else (0.0, 0.0, 0.0)


def guessing(history: History, since: int) -> bool:
    """Whether the hits lie within three standard deviations of what guessing gives (binomial)."""
    accuracy, chance, answers = _accuracy(history, since)
    return bool(answers) and accuracy <= chance + 3 * sqrt(chance * (1 - chance) / answers)


def _terms(history: History) -> str:
    """The chance level in words, e.g. '1.25 ln 128'."""
    weights: dict[str, float] = {}
    for site, series in history.of("loss/weight"):
        candidates = round(history.series("loss/candidates", site).last)
        term = f"ln {candidates}" if is_softmax(history, site) else f"SigLIP's level at {candidates}"
        if series.steps[-1] == history.series("loss/total").steps[-1]:
            weights[term] = weights.get(term, 0.0) + series.last
    return " + ".join(f"{weight:.4g} {term}" for term, weight in weights.items())
