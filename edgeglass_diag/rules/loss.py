"""EG4xx: the loss."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.measures.chance import contrastive_floor, wrong_answers_floor
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule, Stage
from edgeglass_diag.rules.causality import DIVERGENCE, INPUTS, OBJECTIVE, REACH, STEPS
from edgeglass_diag.rules.cures import SLOWER
from edgeglass_diag.rules.embeddings import constant_since, side_wakes
from edgeglass_diag.rules.floors import contrast
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.remedies import chance_remedy
from edgeglass_diag.rules.series import Streak
from edgeglass_diag.rules.training_state import MOVED, is_softmax, no_better_than_chance
from edgeglass_diag.signals.embeddings import EMBEDDING_NORM_SPREAD, EMBEDDING_SCALE
from edgeglass_diag.signals.losses import (
    LOSS_ACCURACY,
    LOSS_CANDIDATES,
    LOSS_CHANCE,
    LOSS_LARGEST_LABEL,
    LOSS_LEVEL,
    LOSS_LOGIT_STD,
    LOSS_TARGET_ENTROPY,
    LOSS_TOTAL,
    LOSS_WEIGHT,
)
from edgeglass_diag.signals.registry import METRIC, metric
from edgeglass_diag.sites import PairSite


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
    steps: int = 20
    windows: int = 4
    flat: float = 0.1
    long: int = 200

    code = "EG401"
    name = "loss-at-chance"
    title = "Loss at chance level"
    severity = Severity.CRITICAL
    page = "overview"
    signals = (LOSS_TOTAL, LOSS_CHANCE, LOSS_LOGIT_STD, LOSS_ACCURACY)
    source = "derived: uniform softmax; https://github.com/mlfoundations/open_clip/issues/17 (4.8xxx at batch 128)"
    fix = "Find what makes the logits uninformative (see the finding this follows from), then the learning rate."
    cures = (*SLOWER[:2], Intervention("optimizer.lr", 10))
    refuted_by_learning = True
    faulty = "4.8520 at batch 128, for 200 steps"
    healthy = "4.8520 at step 0, 4.1 at step 50"
    stages = (Stage.RUN, Stage.LOG)
    brought_by = ("EG801", "EG301", *INPUTS, *OBJECTIVE, "EG302", *DIVERGENCE, *STEPS, "EG503", *REACH)

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding for the whole loss."""
        state = no_better_than_chance(history, self.tolerance)
        if state is None or not state.lasting(steps=self.steps, windows=self.windows):
            return
        if not self._can_learn(history):
            return
        how = self._uninformed(history)
        moved = history.cumulated_update(state.since) >= MOVED
        if how and not (moved or max(history.logit_spread.values, default=0.0) > 3 * self.flat):
            return
        no_better = state.span >= self.long and moved and guessing(history, state.since)
        if not how and not no_better:
            return
        total, chance = history.series(LOSS_TOTAL).last, history.series(LOSS_CHANCE).last
        yield self.finding(
            history,
            f"{total:.4f} against a chance level of {chance:.4f} ({_terms(history)}) since step {state.since}: "
            f"{how or 'the in-batch accuracy is that of guessing'}",
            severity=Severity.CRITICAL if how else Severity.WARNING,
            since=state.since,
            evidence={
                "loss": total, "chance": chance, "relative": history.relative_loss.last,
                "logit_std": history.logit_spread.last, "accuracy": _accuracy(history, state.since)[0],
            },
            fix="" if constant_since(history) is not None else chance_remedy(history, state.since),
        )  # fmt: skip

    def _can_learn(self, history: History) -> bool:
        """Return whether the targets are not themselves as uncertain as chance, as those of a very soft teacher."""
        soft = [
            history.series(LOSS_TARGET_ENTROPY, site).last >= (1 - 2 * self.tolerance) * level.last
            for site, level in history.of(LOSS_LEVEL)
            if is_softmax(history, site)
        ]
        return not soft or not all(soft)

    def _uninformed(self, history: History) -> str:
        """Return why the logits cannot tell pairs apart, in words; empty where they might, or are about to."""
        if side_wakes(history):
            return ""
        uniform = history.logit_spread.streak(lambda _, value: value <= self.flat)
        if uniform is not None and uniform.lasting(steps=self.steps, windows=self.windows):
            return "the softmax is uniform"
        constant = constant_since(history)
        if constant is not None and constant.lasting(steps=self.steps, windows=self.windows):
            return "one side of the logits is constant"
        return ""


CONTRASTIVE_VALIDATION = {metric(name) for name in ("val/loss", "val_loss", "eval/loss", "eval_loss", "val/clip")}
"""Names under which loops log the contrastive loss on held-out pairs, the set that recalls are measured on."""


@dataclass(frozen=True)
class LossBelowPossible(Rule):
    """A logged loss is lower than any model could make it with its logit scale or its recall.

    Why: such a value was never computed (a term that exists only in training mode and is averaged as 0), or
    another thing was computed under its name.

    Formula: a wrong answer costs at least ln 2. With R@10 = r over N pairs at most the share
    r + (1-r) (1 - 10/(N-1))^(B-1) is answered right within batches of B, so loss >= (1 - share) ln 2; and with
    cosines as logits loss >= ln(1 + (B-1) exp(-s B/(B-1))). Below ``share`` of the larger bound is flagged.
    """

    share: float = 0.5

    code = "EG402"
    name = "loss-below-possible"
    title = "Loss lower than possible"
    severity = Severity.CRITICAL
    page = "overview"
    signals = (LOSS_CANDIDATES, EMBEDDING_SCALE)
    source = "derived: softmax arithmetic; a validation loss of 0.0 with R@5 = 78 % in the Edge Glass report"
    fix = "Look at how this value is made: is the term computed in evaluation mode, and averaged over what it counted?"
    faulty = "val/loss = 0.0 with R@10 = 0.89"
    healthy = "val/loss = 0.76 with R@10 = 0.89"
    stages = (Stage.RUN, Stage.LOG)

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per logged loss."""
        bound, why = self._bound(history)
        for signal in history.signals(METRIC):
            if signal not in CONTRASTIVE_VALIDATION:
                continue
            series = history.series(signal)
            if len(series) and series.last < self.share * bound:
                yield self.finding(
                    history,
                    f"{signal.quantity} = {series.last:.4g} at step {series.steps[-1]}, and {why} needs at least "
                    f"{bound:.3g}",
                    site=signal.quantity,
                    evidence={"value": series.last, "bound": bound, "step": series.steps[-1]},
                )

    def _bound(self, history: History) -> tuple[float, str]:
        batch = max((int(series.last) for _, series in history.of(LOSS_CANDIDATES)), default=0)
        if batch < 2:
            return 0.0, ""
        scale = max((series.last for _, series in history.of(EMBEDDING_SCALE)), default=100.0)
        bounds = [(contrastive_floor(scale, batch), f"a logit scale of {scale:.3g} over {batch} candidates")]
        gallery = history.series(metric("n"))
        for way in ("i2t", "t2i"):
            recall = history.series(metric(f"{way}/R@10"))
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
    of ln B in every recorded window over at least ``steps`` steps and ``windows`` windows; of a sigmoid loss the least
    with the best bias, of the level of knowing nothing. Where lengths differ within
    a side by more than ``spread`` (std / mean), s is what they make it, and grows with them: EG303 looks at those. A
    fact (info) once nearly all answers are right.
    """

    share: float = 0.5
    steps: int = 20
    windows: int = 4
    spread: float = 0.01

    code = "EG403"
    name = "temperature-missing"
    title = "Logit scale too small"
    severity = Severity.WARNING
    page = "overview"
    signals = (EMBEDDING_SCALE, LOSS_CANDIDATES)
    source = (
        "derived: regular simplex; s = 1 at B = 128 leaves 3.858 of 4.852, CLIP's 1/0.07 leaves 0 "
        "(https://arxiv.org/abs/2103.00020); bfloat16 keeps 8 bits, so that unit vectors differ by 0.4 %"
    )
    fix = "Divide the cosines by a temperature of about 0.07, or learn the scale from ln(1/0.07)."
    cures = (Intervention("loss.temperature", 1 / 0.07), Intervention("loss.temperature", 1 / 0.07**2))
    hinders_learning = True
    faulty = "logits = image @ text.T"
    healthy = "logits = image @ text.T / 0.07"
    brought_by = ("EG702", "EG209")

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per pair of sides."""
        known = contrast(history)
        chance = known.chance if known.candidates > 1 else 0.0
        for pair, series in history.of(EMBEDDING_SCALE):
            bound = self.bound(history, pair)
            if bound is None or lengths_differ(history, pair, self.spread):
                continue
            floor = known.floor(series.last)
            yield self.finding(
                history,
                f"logits are {series.last:.3g} x cosine since step {bound.since}, at which no model gets below a loss "
                f"of {floor:.3f} over {known.candidates} candidates (chance is {chance:.3f})",
                site=pair,
                since=bound.since,
                evidence={"scale": series.last, "floor": floor, "chance": chance},
                fix=_FELL if known.floor(series.first) < self.share * chance else "",
            )

    def bound(self, history: History, pair: str) -> Streak | None:
        """Return since when the logits of a pair of sides have been too small, None where they are not, or briefly."""
        known = contrast(history)
        if known.candidates < 2:
            return None
        level = self.share * known.chance
        low = history.series(EMBEDDING_SCALE, pair).streak(lambda _, s: s >= 0 and known.floor(s) >= level)
        return low if low is not None and low.lasting(steps=self.steps, windows=self.windows) else None


def lengths_differ(history: History, pair: str, spread: float) -> bool:
    """Return whether embeddings of a side of a pair differ in length, by more than ``spread`` (std / mean)."""
    site = history.site(PairSite, pair)
    spreads = [history.series(EMBEDDING_NORM_SPREAD, side) for side in site.sides] if site else []
    return any(len(found) and found.last > spread for found in spreads)


_FELL = (
    "Find what lowers the scale, which began well: weight decay on it, its own learning rate, pairs that do not match."
)


def _accuracy(history: History, since: int) -> tuple[float, float, float]:
    """Return the mean in-batch accuracy since a step, its chance level, and the number of answers."""
    hits, answers, expected = history.answers(since)
    return (hits / answers, expected / answers, answers) if answers else (0.0, 0.0, 0.0)


def guessing(history: History, since: int) -> bool:
    """Return whether the hits lie within three standard deviations of what guessing gives (binomial)."""
    accuracy, chance, answers = _accuracy(history, since)
    return bool(answers) and accuracy <= chance + 3 * sqrt(chance * (1 - chance) / answers)


def _terms(history: History) -> str:
    """Return the chance level in words, e.g. '1.25 ln 128'."""
    weights: dict[str, float] = {}
    for site, series in history.of(LOSS_WEIGHT):
        candidates = round(history.series(LOSS_CANDIDATES, site).last)
        term = f"ln {candidates}" if is_softmax(history, site) else f"SigLIP's level at {candidates}"
        if len(history.series(LOSS_LARGEST_LABEL, site)):
            term = "entropy of the labels"
        if series.steps[-1] == history.series(LOSS_TOTAL).steps[-1]:
            weights[term] = weights.get(term, 0.0) + series.last
    return " + ".join(f"{weight:.4g} {term}" for term, weight in weights.items())
