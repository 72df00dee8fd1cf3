"""EG6xx: evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History


@dataclass(frozen=True)
class RecallExactlyChance(Rule):
    """R@1, R@5 and R@10 are exactly 1/N, 5/N and 10/N: every query got the same ranking.

    Why: one constant side ranks all candidates alike for every query, and exactly K of N queries find their
    pair among the first K. Random but varied embeddings scatter around K/N instead.

    Formula: R@K x N within ``slack`` of K for each logged K of 1, 5 and 10, N at least ``least``. Critical in both
    directions, a warning in one of them.
    """

    slack: float = 1e-3
    least: float = 50

    code = "EG601"
    name = "recall-exactly-chance"
    severity = Severity.CRITICAL
    source = "derived: by chance alone the triple has a probability of about 1.4 % at N = 2984 (binomial)"
    fix = "The embeddings of one side are constant: look where its sample signal dies, not at the evaluation."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per direction."""
        gallery = history.series("metric/n")
        if not len(gallery) or gallery.last < self.least:
            return
        size = gallery.last
        exact = {way: recalls for way in ("i2t", "t2i") if (recalls := self._exact(history, way, size))}
        for way, recalls in exact.items():
            yield self.finding(
                history,
                f"{way} R@1, R@5, R@10 are exactly 1/{size:.0f}, 5/{size:.0f}, 10/{size:.0f}: "
                "every query got the same ranking",
                site=way,
                severity=Severity.CRITICAL if len(exact) == 2 else Severity.WARNING,
                evidence={"n": size, **recalls},
            )

    def _exact(self, history: History, way: str, size: float) -> dict[str, float]:
        """The recalls of one direction, where each is exactly K/N; empty otherwise."""
        series = {k: history.series(f"metric/{way}/R@{k}") for k in (1, 5, 10)}
        if not all(len(s) and abs(s.last * size - k) <= self.slack * k for k, s in series.items()):
            return {}
        return {f"R@{k}": s.last for k, s in series.items()}
