"""EG1xx: attention whose softmax is saturated or whose logits explode."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.intervention import AT_FINDING, Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.attention_rule import AttentionRule
from edgeglass_diag.rules.base import Stage
from edgeglass_diag.rules.cures import WARMED_UP
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.training_state import at_chance
from edgeglass_diag.signals.attention import (
    ATTENTION_ENTROPY,
    ATTENTION_LOGIT_MAX,
    ATTENTION_LOGIT_STD,
    ATTENTION_TOP1,
    OPERAND_KEYS,
)


@dataclass(frozen=True)
class AttentionSaturated(AttentionRule):
    """Attention looks at a single key from the start, and the model hardly learns.

    Why: a saturated softmax passes almost no gradient to queries and keys; what they look at at random stays.

    Formula: in a run, the softmax entropy over ln(valid keys), averaged over heads, is at most ``entropy`` and the
    standard deviation of the logits at least ``spread``, in every recorded window from the first on, over at least
    ``steps`` steps and ``windows`` windows. A warning where the loss is no more than a tenth better than chance
    meanwhile, or the spread is ``extreme``; a fact (info) otherwise.

    Before the first step, the logits' standard deviation over n keys, ``init_keys`` at least, is at least
    sqrt(2 ln n), above which the sum of n exponentials of Gaussian logits is dominated by its largest few (the freezing
    point of the random energy model).
    """

    entropy: float = 0.05
    spread: float = 10.0
    extreme: float = 100.0
    steps: int = 10
    windows: int = 4
    init_keys: int = 8

    code = "EG103"
    name = "attention-saturated"
    title = "Attention saturated"
    severity = Severity.WARNING
    page = "attention"
    signals = (ATTENTION_ENTROPY, ATTENTION_LOGIT_STD, ATTENTION_TOP1)
    source = (
        "derived: Gaussian logits of std s over 577 keys have H / ln n = .26 at s = 5 and below .05 from s = 15 on; "
        "trained attention sharpens, random attention must not begin so. Stabilizing Transformer Training by "
        "Preventing Attention Entropy Collapse, https://arxiv.org/abs/2303.06296. At init: random energy model, "
        "Derrida 1981, https://doi.org/10.1103/PhysRevB.24.2613; at 577 keys 3.57"
    )
    fix = "Divide the logits by the root of the head's width, put a norm before queries and keys, or lower their init."
    cures = (Intervention("module.norm_before", site=AT_FINDING),)
    faulty = "scores = q @ k.T"
    healthy = "scores = q @ k.T / math.sqrt(q.shape[-1])"
    brought_by = ("EG104", "EG204", "EG202")
    stages = (Stage.INIT, Stage.RUN)
    aliases = {"EG052": {"keys": "init_keys"}}  # noqa: RUF012

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per attention site."""
        for site, series in history.of(ATTENTION_ENTROPY):
            state = series.streak(lambda _, value: value <= self.entropy)
            if state is None or state.windows < len(series):
                continue
            spread = history.series(ATTENTION_LOGIT_STD, site)
            if not state.lasting(steps=self.steps, windows=self.windows) or spread.last < self.spread:
                continue
            loud = min(spread.values) >= self.extreme or at_chance(history, steps=self.steps)
            yield self.finding(
                history,
                f"{site} has an entropy of {series.last:.3f} of the uniform's and logits of std {spread.last:.3g} "
                f"since step {state.since}",
                site=site,
                since=state.since,
                severity=Severity.WARNING if loud else Severity.INFO,
                evidence={"entropy": series.last, "logit_std": spread.last},
            )

    def check_at_init(self, history: History) -> Iterable[Finding]:
        """Return one finding per attention site."""
        for site, counts in history.of(OPERAND_KEYS):
            spread, keys = history.series(ATTENTION_LOGIT_STD, site), counts.last
            if keys < self.init_keys or not len(spread) or spread.last < math.sqrt(2 * math.log(keys)):
                continue
            top1, limit = history.series(ATTENTION_TOP1, site), math.sqrt(2 * math.log(keys))
            yield self.finding(
                history,
                f"{site} has logits of std {spread.last:.3g} over {keys:.0f} keys (below {limit:.3g}): the largest "
                f"weight is {top1.last:.2f} on average",
                site=site,
                evidence={"logit_std": spread.last, "keys": keys, "top1": top1.last},
            )


@dataclass(frozen=True)
class AttentionLogitsExplode(AttentionRule):
    """Attention logits grow beyond what any training has survived.

    Why: queries and keys feed each other's growth; the softmax turns into an argmax and the training diverges.

    Formula: the largest valid logit of a head (all heads' mean) exceeds ``logit`` in at least two recorded windows.
    """

    logit: float = 1e4

    code = "EG104"
    name = "attention-logits-explode"
    title = "Attention logits explode"
    severity = Severity.WARNING
    page = "attention"
    signals = (ATTENTION_LOGIT_MAX,)
    source = (
        "Small-scale proxies for large-scale Transformer training instabilities, https://arxiv.org/abs/2309.14322: "
        "all runs with logits above 1e4 diverged"
    )
    fix = "Normalise queries and keys (qk-norm), lower the learning rate, or warm up longer."
    cures = (Intervention("optimizer.lr", 0.1), WARMED_UP, Intervention("module.norm_before", site=AT_FINDING))
    faulty = "attention logits of up to 20000"
    healthy = "attention logits of up to 30"
    brought_by = ("EG207", "EG204", "EG202", "EG504")

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per attention site."""
        for site, series in history.of(ATTENTION_LOGIT_MAX):
            state = series.streak(lambda _, value: value > self.logit)
            if state is not None and state.windows >= 2:
                yield self.finding(
                    history,
                    f"{site} has logits of up to {series.last:.3g} since step {state.since}, at first up to "
                    f"{series.first:.3g}",
                    site=site,
                    since=state.since,
                    evidence={"logit_max": series.last, "first": series.first},
                )
