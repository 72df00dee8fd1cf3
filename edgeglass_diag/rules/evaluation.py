"""EG6xx: evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History, Series


@dataclass(frozen=True)
class RecallExactlyChance(Rule):
    """R@1, R@5 and R@10 are exactly those of a random ranking, K/N for single captions: all queries rank alike.

    Why: one constant side ranks all candidates alike for every query, and exactly K of N queries find their
    pair among the first K. Random but varied embeddings scatter around K/N instead.

    Formula: |R@K - chance| <= ``slack`` x chance for each logged K of 1, 5 and 10, N pictures, at least ``least``.
    Chance is K/N (one and the same ranking of the other side), or what is logged as chance@K of the direction (all
    candidates tie): 1 - C(M-c, K) / C(M, K) where c of M captions are the picture's. Critical in both directions, a
    warning in one of them.
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
                f"{way} R@1, R@5, R@10 are exactly {self._words(recalls, size)}: every query got the same ranking",
                site=way,
                severity=Severity.CRITICAL if len(exact) == 2 else Severity.WARNING,
                evidence={"n": size, **recalls},
            )

    def _exact(self, history: History, way: str, size: float) -> dict[str, float]:
        """The recalls of one direction, where each is exactly K/N; empty otherwise."""
        series = {k: history.series(f"metric/{way}/R@{k}") for k in (1, 5, 10)}
        tied = {k: history.series(f"metric/{way}/chance@{k}") for k in series}
        chances = [{k: k / size for k in series}, {k: s.last for k, s in tied.items() if len(s)}]
        if not any(self._equal(series, chance) for chance in chances):
            return {}
        return {f"R@{k}": s.last for k, s in series.items()}

    def _equal(self, series: Mapping[int, Series], chance: Mapping[int, float]) -> bool:
        return chance.keys() == series.keys() and all(
            len(s) and abs(s.last - chance[k]) <= self.slack * chance[k] for k, s in series.items()
        )

    def _words(self, recalls: Mapping[str, float], size: float) -> str:
        """1/N, 5/N, 10/N where that is so, else the recalls as those of chance."""
        shares = dict(zip((1, 5, 10), recalls.values(), strict=True))
        if all(abs(value * size - k) <= self.slack * k for k, value in shares.items()):
            return ", ".join(f"{k}/{size:.0f}" for k in shares)
        return f"those of chance, {', '.join(f'{value:.4g}' for value in shares.values())}"
