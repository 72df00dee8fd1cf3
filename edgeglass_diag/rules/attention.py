"""EG1xx: attention."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History, held
from edgeglass_diag.rules.training_state import MOVED, no_better_than_chance, side_wakes


@dataclass(frozen=True)
class AttentionStaysUniform(Rule):
    """Attention is uniform, stays so, and the model does not learn meanwhile.

    Why: uniform attention is mean pooling. At init it is normal (entropy 0.99 behind a LayerNorm), and a model
    may learn well through it; it is a fault only where it persists while nothing is learned.

    Formula: softmax entropy / ln(valid keys) >= ``entropy``, averaged over heads, in every recorded window over
    at least ``steps`` steps and ``windows`` windows, during which the loss is not 1 % better than
    chance and the weights have moved by a fifth. It waits where a side that was constant gains signal, as behind
    gates that start at zero: learning is on its way.
    """

    entropy: float = 0.98
    steps: float = 40
    windows: float = 5

    code = "EG101"
    name = "attention-stays-uniform"
    severity = Severity.WARNING
    source = (
        "derived: Gaussian logits of std s over n keys lower the entropy by about s^2 / (2 ln n); .98 is s = 0.5 at 577"
    )
    fix = "Mend what keeps the loss at chance first; if it persists, put a norm before queries and keys."
    refuted_by_learning = True

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per attention site."""
        stuck = no_better_than_chance(history, 0.01)
        if stuck is None or not stuck.lasting(steps=int(self.steps), windows=int(self.windows)):
            return
        if history.cumulated_update(stuck.since) < MOVED or side_wakes(history):
            return
        for site, series in history.of("attention/entropy"):
            flat = held(series, lambda step, value: value >= self.entropy and step >= stuck.since)
            if flat is None or not flat.lasting(steps=int(self.steps), windows=int(self.windows)):
                continue
            spread = history.series("attention/logit_std", site)
            yield self.finding(
                history,
                f"{site}: entropy {series.last:.4f} of the uniform's since step {flat.since} (logit std "
                f"{spread.last:.3g}) while the loss stays at chance",
                site=site,
                evidence={"entropy": series.last, "logit_std": spread.last, "since": flat.since},
            )


@dataclass(frozen=True)
class QueriesAlike(Rule):
    """All queries of an attention give the same output: K latents do the work of one.

    Why: latents that read the same thing from the tokens cannot tell its parts apart.

    Formula: effective number of distinct outputs L^2 / sum_ij cos_ij^2 <= 1 + ``excess`` for L >= 4 queries in
    every recorded window over at least ``steps`` steps and ``windows`` windows, although the weights have moved
    by a fifth, while the loss is no better
    than chance.
    """

    excess: float = 1e-4
    steps: float = 40
    windows: float = 5

    code = "EG102"
    name = "queries-alike"
    severity = Severity.WARNING
    source = "derived: an excess of 1e-4 is a mean squared sine of 1e-4, an angle of half a degree between outputs"
    fix = "Give the latents different starts (draw them independently), and look at what makes the attention uniform."
    refuted_by_learning = True

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per attention site."""
        stuck = no_better_than_chance(history, 0.01)
        if stuck is None or side_wakes(history):
            return
        for site, series in history.of("attention/distinct"):
            alike = held(series, lambda _, value: value <= 1 + self.excess)
            if alike is None or not alike.lasting(steps=int(self.steps), windows=int(self.windows)):
                continue
            if max(series.values) <= 1 + 1e-9 or history.cumulated_update(alike.since) < MOVED:
                continue
            yield self.finding(
                history,
                f"{site}: all queries give the same output since step {alike.since} "
                f"({series.last:.5f} effective distinct outputs)",
                site=site,
                evidence={"distinct": series.last, "since": alike.since},
            )
