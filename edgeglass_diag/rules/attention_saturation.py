"""EG1xx: attention whose softmax is saturated or whose logits explode."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.training_state import stuck


@dataclass(frozen=True)
class AttentionSaturated(Rule):
    """Attention looks at a single key from the start, and the model hardly learns.

    Why: a saturated softmax passes almost no gradient to queries and keys; what they look at at random stays.

    Formula: the softmax entropy over ln(valid keys), averaged over heads, is at most ``entropy`` and the standard
    deviation of the logits at least ``spread``, in every recorded window from the first on, over at least ``steps``
    steps and ``windows`` windows. A warning where the loss is no more than a tenth better than chance meanwhile,
    or the spread is ``extreme``; a fact (info) otherwise.
    """

    entropy: float = 0.05
    spread: float = 10.0
    extreme: float = 100.0
    steps: float = 10
    windows: float = 4

    code = "EG103"
    name = "attention-saturated"
    severity = Severity.WARNING
    source = (
        "derived: Gaussian logits of std s over 577 keys have H / ln n = .26 at s = 5 and below .05 from s = 15 on; "
        "trained attention sharpens, random attention must not begin so. Stabilizing Transformer Training by "
        "Preventing Attention Entropy Collapse, https://arxiv.org/abs/2303.06296"
    )
    fix = "Divide the logits by the root of the head's width, put a norm before queries and keys, or lower their init."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per attention site."""
        for site, series in history.of("attention/entropy"):
            state = history.streak(("EG103", self.entropy, site), series, lambda _, value: value <= self.entropy)
            if state is None or state.windows < len(series):
                continue
            spread = history.series("attention/logit_std", site)
            if not state.lasting(steps=int(self.steps), windows=int(self.windows)) or spread.last < self.spread:
                continue
            loud = min(spread.values) >= self.extreme or stuck(history, steps=int(self.steps))
            yield self.finding(
                history,
                f"{site}: entropy {series.last:.3f} of the uniform's, logits with std {spread.last:.3g}, since step "
                f"{state.since}",
                site=site,
                severity=Severity.WARNING if loud else Severity.INFO,
                evidence={"entropy": series.last, "logit_std": spread.last, "since": state.since},
            )


@dataclass(frozen=True)
class AttentionLogitsExplode(Rule):
    """Attention logits grow beyond what any training has survived.

    Why: queries and keys feed each other's growth; the softmax turns into an argmax and the training diverges.

    Formula: the largest valid logit of a head (all heads' mean) exceeds ``logit`` in at least two recorded windows.
    """

    logit: float = 1e4

    code = "EG104"
    name = "attention-logits-explode"
    severity = Severity.WARNING
    source = (
        "Small-scale proxies for large-scale Transformer training instabilities, https://arxiv.org/abs/2309.14322: "
        "all runs with logits above 1e4 diverged"
    )
    fix = "Normalise queries and keys (qk-norm), lower the learning rate, or warm up longer."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per attention site."""
        for site, series in history.of("attention/logit_max"):
            state = history.streak(("EG104", self.logit, site), series, lambda _, value: value > self.logit)
            if state is not None and state.windows >= 2:
                yield self.finding(
                    history,
                    f"{site}: attention logits of up to {series.last:.3g} since step {state.since}",
                    site=site,
                    evidence={"logit_max": series.last, "first": series.values[0], "since": state.since},
                )
