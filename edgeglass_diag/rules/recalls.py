"""EG601 to EG606: recalls and metrics that are wrong by themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule, Stage
from edgeglass_diag.rules.causality import DIVERGENCE, INPUTS
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.series import Series
from edgeglass_diag.signals.registry import METRIC, metric

WAYS = ("i2t", "t2i")


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
    least: int = 50

    code = "EG601"
    name = "recall-exactly-chance"
    title = "Recall exactly at chance"
    severity = Severity.CRITICAL
    page = "retrieval"
    source = "derived: by chance alone the triple has a probability of about 1.4 % at N = 2984 (binomial)"
    fix = "The embeddings of one side are constant: look where its sample signal dies, not at the evaluation."
    faulty = "R@1, R@5, R@10 = 1/1000, 5/1000, 10/1000"
    healthy = "0/1000, 6/1000, 9/1000"
    stages = (Stage.RUN, Stage.LOG)
    brought_by = ("EG301", "EG503", "EG401", *DIVERGENCE)

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per direction."""
        gallery = history.series(metric("n"))
        if not len(gallery) or gallery.last < self.least:
            return
        size = gallery.last
        exact = {way: recalls for way in WAYS if (recalls := self._exact(history, way, size))}
        for way, recalls in exact.items():
            yield self.finding(
                history,
                f"{way} R@1, R@5, R@10 are {self._words(recalls, size)}: every query got the same ranking",
                site=way,
                severity=Severity.CRITICAL if len(exact) == 2 else Severity.WARNING,
                evidence={"n": size, **recalls},
            )

    def _exact(self, history: History, way: str, size: float) -> dict[str, float]:
        """Return the recalls of one direction, where each is exactly K/N; empty otherwise."""
        series = {k: history.series(metric(f"{way}/R@{k}")) for k in (1, 5, 10)}
        tied = {k: history.series(metric(f"{way}/chance@{k}")) for k in series}
        chances = [{k: k / size for k in series}, {k: s.last for k, s in tied.items() if len(s)}]
        if not any(self._equal(series, chance) for chance in chances):
            return {}
        return {f"R@{k}": s.last for k, s in series.items()}

    def _equal(self, series: Mapping[int, Series], chance: Mapping[int, float]) -> bool:
        return chance.keys() == series.keys() and all(
            len(s) and abs(s.last - chance[k]) <= self.slack * chance[k] for k, s in series.items()
        )

    def _words(self, recalls: Mapping[str, float], size: float) -> str:
        """Return 1/N, 5/N, 10/N where that is so, else the recalls as those of chance."""
        shares = dict(zip((1, 5, 10), recalls.values(), strict=True))
        if all(abs(value * size - k) <= self.slack * k for k, value in shares.items()):
            return ", ".join(f"{k}/{size:.0f}" for k in shares)
        return f"those of chance, {', '.join(f'{value:.4g}' for value in shares.values())}"


@dataclass(frozen=True)
class RecallsOutOfOrder(Rule):
    """Recalls that cannot be: outside of [0, 1], or R@1 above R@5 above R@10.

    Why: who finds among the first has found among the first five. Something else was computed.

    Formula: R@1 <= R@5 <= R@10 in each direction to ``slack``; all recalls in [0, 1], or in [0, 100] where they are
    percent throughout and no fraction is among them.
    """

    slack: float = 1e-6

    code = "EG602"
    name = "recalls-out-of-order"
    title = "Impossible recalls"
    severity = Severity.CRITICAL
    page = "retrieval"
    source = "derived: hits among the first K are hits among the first K + 1; dstc-noesis #19 (one argsort)"
    fix = "Rank with argsort(argsort(-scores)), or count the candidates that score higher than the pair."
    faulty = "R@1 = 0.5, R@5 = 0.2"
    healthy = "R@1 = 0.2, R@5 = 0.5"
    stages = (Stage.RUN, Stage.LOG)
    aliases = {"EG650": {}}  # noqa: RUF012

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per direction."""
        for way in WAYS:
            found = _recalls(history, way)
            values = list(found.values())
            falling = any(b < a - self.slack for a, b in pairwise(values))
            outside = any(v < -self.slack or v > 1 + self.slack for v in values)
            if falling or outside:
                what = ", ".join(f"{name} = {value:.4g}" for name, value in found.items())
                yield self.finding(
                    history,
                    f"{way} {what}: {'recall cannot fall with K' if falling else 'a share lies within 0 and 1'}",
                    site=way,
                    severity=Severity.CRITICAL if falling else Severity.WARNING,
                    evidence=found,
                )


@dataclass(frozen=True)
class DirectionsEqual(Rule):
    """Both directions of retrieval have exactly the same recalls.

    Why: image to text and text to image are two experiments; equal in every digit, they are one that was read twice.

    Formula: R@1, R@5 and R@10 agree exactly in both directions over at least ``least`` pairs in all evaluations, at
    least ``times``, and at least ``inside`` of the recalls in them lie strictly between ``low`` and 1 - ``low``.
    """

    inside: int = 3
    low: float = 0.02
    least: int = 200
    times: int = 2

    code = "EG603"
    name = "directions-equal"
    title = "Both retrieval directions are the same"
    severity = Severity.WARNING
    page = "retrieval"
    source = (
        "derived: two counts of deviation sqrt(N r (1-r)) agree with a probability of 1 / (2 sqrt(pi N r (1-r))), "
        "4 % at N = 256 and r = .5; three times that is 1e-4"
    )
    fix = "Transpose the similarity matrix for the second direction."
    faulty = "recall(sim), recall(sim)"
    healthy = "recall(sim), recall(sim.T)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        size = history.series(metric("n"))
        if not len(size) or size.last < self.least:
            return
        pairs = [tuple(history.series(metric(f"{way}/R@{k}")).values for way in WAYS) for k in (1, 5, 10)]
        count = min((len(values) for pair in pairs for values in pair), default=0)
        equal = [index for index in range(count) if all(a[index] == b[index] for a, b in pairs)]
        inside = sum(self.low < values[i] < 1 - self.low for values, _ in pairs for i in range(count))
        if len(equal) == count >= self.times and inside >= self.inside:
            yield self.finding(
                history,
                f"i2t and t2i agree in R@1, R@5 and R@10 in all {count} evaluations",
                site="t2i",
                evidence={"evaluations": count, "R@1": pairs[0][0][-1]},
            )


@dataclass(frozen=True)
class MetricNotFinite(Rule):
    """A logged metric is NaN or infinite.

    Why: 0 / 0 over an empty set, or embeddings that are not finite.

    Formula: the newest value of any logged metric is not finite.
    """

    code = "EG606"
    name = "metric-not-finite"
    title = "Metric is not finite"
    severity = Severity.WARNING
    page = "retrieval"
    source = "IEEE 754"
    fix = "Look at the embeddings first, then at what the metric divides by."
    faulty = "i2t/R@1 = nan"
    healthy = "i2t/R@1 = 0.31"
    brought_by = ("EG801", *INPUTS)

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for all metrics."""
        logged = [(signal, history.series(signal)) for signal in history.signals(METRIC)]
        broken = [signal for signal, series in logged if len(series) and not isfinite(series.last)]
        if broken:
            names = [signal.quantity for signal in broken]
            yield self.finding(history, ", ".join(names[:5]), site=names[0], evidence={"metrics": names})


def _recalls(history: History, way: str) -> dict[str, float]:
    series = {f"R@{k}": history.series(metric(f"{way}/R@{k}")) for k in (1, 5, 10)}
    return {name: s.last for name, s in series.items() if len(s) and isfinite(s.last)}
