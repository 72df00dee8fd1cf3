"""EG1xx: attention."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgeglass_diag.intervention import AT_FINDING, Intervention
from edgeglass_diag.records import Bounds, Finding, Severity
from edgeglass_diag.rules.attention_rule import AttentionRule
from edgeglass_diag.rules.causality import INPUTS, OBJECTIVE, REACH, STEPS
from edgeglass_diag.rules.embeddings import side_wakes
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.training_state import MOVED, no_better_than_chance
from edgeglass_diag.signals.attention import ATTENTION_EFFECTIVE_NUM_OUTPUTS, ATTENTION_ENTROPY, ATTENTION_LOGIT_STD
from edgeglass_diag.signals.signal import Signal


@dataclass(frozen=True)
class AttentionStaysUniform(AttentionRule):
    """Attention is uniform, stays so, and the model does not learn meanwhile.

    Why: uniform attention is mean pooling. At init it is normal (entropy 0.99 behind a LayerNorm), and a model
    may learn well through it; it is a fault only where it persists while nothing is learned.

    Formula: softmax entropy / ln(valid keys) >= ``entropy``, averaged over heads, in every recorded window over
    at least ``steps`` steps and ``windows`` windows, during which the loss is not 1 % better than
    chance and the weights have moved by a fifth. It waits where a side that was constant gains signal, as behind
    gates that start at zero: learning is on its way.
    """

    entropy: float = 0.98
    steps: int = 40
    windows: int = 5

    code = "EG101"
    name = "attention-stays-uniform"
    title = "Attention stays uniform"
    severity = Severity.WARNING
    page = "attention"
    signals = (ATTENTION_ENTROPY, ATTENTION_LOGIT_STD)
    source = (
        "derived: Gaussian logits of std s over n keys lower the entropy by about s^2 / (2 ln n); .98 is s = 0.5 at 577"
    )
    fix = "Mend what keeps the loss at chance first; if it persists, put a norm before queries and keys."
    cures = (Intervention("module.norm_before", site=AT_FINDING),)
    refuted_by_learning = True
    faulty = "entropy 0.99 at step 400 while the loss is ln B"
    healthy = "entropy 0.99 at init, or as the loss falls"
    brought_by = ("EG301", *INPUTS, *OBJECTIVE, *STEPS, "EG503", *REACH)

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per attention site."""
        stuck = no_better_than_chance(history, 0.01)
        if stuck is None or not stuck.lasting(steps=self.steps, windows=self.windows):
            return
        since = stuck.since
        if history.cumulated_update(since) < MOVED or side_wakes(history):
            return
        for site, series in history.of(ATTENTION_ENTROPY):
            flat = series.streak(lambda step, value: value >= self.entropy and step >= since)
            if flat is None or not flat.lasting(steps=self.steps, windows=self.windows):
                continue
            spread = history.series(ATTENTION_LOGIT_STD, site)
            yield self.finding(
                history,
                f"{site} has an entropy of {series.last:.4f} of the uniform's since step {flat.since} (logit std "
                f"{spread.last:.3g}), while the loss stays at chance",
                site=site,
                since=flat.since,
                evidence={"entropy": series.last, "logit_std": spread.last},
            )

    def bounds(self) -> Mapping[Signal, Bounds]:
        """Return the entropy above which attention is uniform."""
        return {ATTENTION_ENTROPY: Bounds(high=self.entropy)}


@dataclass(frozen=True)
class QueriesAlike(AttentionRule):
    """All queries of an attention give the same output: K latents do the work of one.

    Why: latents that read the same thing from the tokens cannot tell its parts apart.

    Formula: effective number of distinct outputs L^2 / sum_ij cos_ij^2 <= 1 + ``excess`` for L >= 4 queries in
    every recorded window over at least ``steps`` steps and ``windows`` windows, although the weights have moved
    by a fifth, while the loss is no better
    than chance.
    """

    excess: float = 1e-4
    steps: int = 40
    windows: int = 5

    code = "EG102"
    name = "queries-alike"
    title = "All queries read the same"
    severity = Severity.WARNING
    page = "attention"
    signals = (ATTENTION_EFFECTIVE_NUM_OUTPUTS,)
    source = "derived: an excess of 1e-4 is a mean squared sine of 1e-4, an angle of half a degree between outputs"
    fix = "Mend what keeps the loss at chance first; latents behind a LayerNorm, or drawn larger, differ sooner."
    cures = (Intervention("module.norm_before", site=AT_FINDING),)
    refuted_by_learning = True
    faulty = "64 latents, 1.00000 distinct outputs at step 200"
    healthy = "64 latents, 1.2 distinct outputs"
    brought_by = ("EG002", "EG301", *OBJECTIVE, *STEPS)

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per attention site."""
        stuck = no_better_than_chance(history, 0.01)
        if stuck is None or side_wakes(history):
            return
        for site, series in history.of(ATTENTION_EFFECTIVE_NUM_OUTPUTS):
            alike = series.streak(lambda _, value: value <= 1 + self.excess)
            if alike is None or not alike.lasting(steps=self.steps, windows=self.windows):
                continue
            if max(series.values) <= 1 + 1e-9 or history.cumulated_update(alike.since) < MOVED:
                continue
            yield self.finding(
                history,
                f"{site} has {series.last:.5f} effectively distinct outputs since step {alike.since}",
                site=site,
                since=alike.since,
                evidence={"effective_num_outputs": series.last},
            )

    def bounds(self) -> Mapping[Signal, Bounds]:
        """Return the number of distinct outputs below which all queries read the same."""
        return {ATTENTION_EFFECTIVE_NUM_OUTPUTS: Bounds(low=1 + self.excess)}
