"""EG6xx: evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History, Series

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
        exact = {way: recalls for way in WAYS if (recalls := self._exact(history, way, size))}
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


@dataclass(frozen=True)
class RecallsOutOfOrder(Rule):
    """Recalls that cannot be: outside of [0, 1], or R@1 above R@5 above R@10.

    Why: who finds among the first has found among the first five. Something else was computed.

    Formula: R@1 <= R@5 <= R@10 in each direction to ``slack``; all recalls in [0, 1], or in [0, 100] where they are
    percent throughout beside no fraction.
    """

    slack: float = 1e-6

    code = "EG602"
    name = "recalls-out-of-order"
    severity = Severity.CRITICAL
    source = "derived: hits among the first K are hits among the first K + 1; dstc-noesis #19 (one argsort)"
    fix = "Rank with argsort(argsort(-scores)), or count the candidates that score higher than the pair."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per direction."""
        for way in WAYS:
            found = _recalls(history, way)
            values = list(found.values())
            falling = any(b < a - self.slack for a, b in pairwise(values))
            outside = any(v < -self.slack or v > 1 + self.slack for v in values)
            if falling or outside:
                what = ", ".join(f"{name} = {value:.4g}" for name, value in found.items())
                yield self.finding(
                    history,
                    f"{way}: {what}: {'recall cannot fall with K' if falling else 'a share lies within 0 and 1'}",
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

    inside: float = 3
    low: float = 0.02
    least: float = 200
    times: float = 2

    code = "EG603"
    name = "directions-equal"
    severity = Severity.WARNING
    source = (
        "derived: two counts of deviation sqrt(N r (1-r)) agree with a probability of 1 / (2 sqrt(pi N r (1-r))), "
        "4 % at N = 256 and r = .5; three times that is 1e-4"
    )
    fix = "Transpose the similarity matrix for the second direction."

    def check(self, history: History) -> Iterable[Finding]:
        """At most one finding."""
        size = history.series("metric/n")
        if not len(size) or size.last < self.least:
            return
        pairs = [tuple(history.series(f"metric/{way}/R@{k}").values for way in WAYS) for k in (1, 5, 10)]
        count = min((len(values) for pair in pairs for values in pair), default=0)
        equal = [index for index in range(count) if all(a[index] == b[index] for a, b in pairs)]
        inside = sum(self.low < values[i] < 1 - self.low for values, _ in pairs for i in range(count))
        if len(equal) == count >= self.times and inside >= self.inside:
            yield self.finding(
                history,
                f"i2t and t2i have the same R@1, R@5 and R@10 in all {count} evaluations",
                site="t2i",
                evidence={"evaluations": count, "R@1": pairs[0][0][-1]},
            )


@dataclass(frozen=True)
class RecallBeyondTraining(Rule):
    """Retrieval succeeds where training cannot tell pairs apart.

    Why: to find a pair among N is harder than among the B of a batch. A strict comparison that lets ties count as hits,
    an evaluation of other embeddings, or pairs of training are at work.

    Formula: R@1 over N >= B pairs is at least ``recall``, while the in-batch accuracy in training, over the last
    ``windows`` recorded windows, is at most three times chance.
    """

    recall: float = 0.5
    windows: float = 4

    code = "EG604"
    name = "recall-beyond-training"
    severity = Severity.CRITICAL
    source = "derived: P(right among B) >= P(right among N) for N >= B; CLIP4Clip #80 (strict > gives 100 % on ties)"
    fix = "Rank ties in the middle; check that the evaluation embeds what training trains."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per direction."""
        trained = _training_accuracy(history, int(self.windows))
        size = history.series("metric/n")
        if trained is None or not len(size) or size.last < trained[1] or trained[0] > 3 / trained[1]:
            return
        for way in WAYS:
            found = history.series(f"metric/{way}/R@1")
            if len(found) and self.recall <= found.last <= 1:
                yield self.finding(
                    history,
                    f"{way} R@1 = {found.last:.3f} over {size.last:.0f} pairs, but in training only {trained[0]:.3f} "
                    f"are right among {trained[1]:.0f}",
                    site=way,
                    evidence={"R@1": found.last, "accuracy": trained[0], "candidates": trained[1]},
                )


@dataclass(frozen=True)
class RecallFarBelowTraining(Rule):
    """Training tells pairs apart, and retrieval finds none.

    Why: to be right among B at a rate of a is to be right among N at about a^((N-1)/(B-1)) at worst. Recall at chance
    beside it means that other pairs, other embeddings or another order are evaluated, or that train and test differ in
    kind (batch statistics, a mode, preprocessing).

    Formula: R@10 over N pairs is at most ``chance`` times 10 / N in the newest two evaluations, while the in-batch
    accuracy in training, over the last ``windows`` recorded windows, is at least ``accuracy``.
    """

    accuracy: float = 0.5
    chance: float = 2.0
    windows: float = 4

    code = "EG607"
    name = "recall-far-below-training"
    severity = Severity.CRITICAL
    source = "derived: a pair of gallery rank r is right in a batch with probability (1-(r-1)/(N-1))^(B-1)"
    fix = "Check the order of both sides of the evaluation, its preprocessing, and the model's mode."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding for both directions."""
        trained = _training_accuracy(history, int(self.windows))
        size = history.series("metric/n")
        if trained is None or trained[0] < self.accuracy or not len(size) or size.last < 100:
            return
        low = [
            way
            for way in WAYS
            if len(series := history.series(f"metric/{way}/R@10")) > 1
            and all(0 <= value <= self.chance * 10 / size.last for value in series.values[-2:])
        ]
        if low:
            found = history.series(f"metric/{low[0]}/R@10").last
            yield self.finding(
                history,
                f"{' and '.join(low)} R@10 = {found:.3f} over {size.last:.0f} pairs is chance, but in training "
                f"{trained[0]:.0%} are right among {trained[1]:.0f}",
                site=low[0],
                evidence={"R@10": found, "accuracy": trained[0], "n": size.last},
            )


@dataclass(frozen=True)
class MetricNotFinite(Rule):
    """A logged metric is NaN or infinite.

    Why: 0 / 0 over an empty set, or embeddings that are not finite.

    Formula: the newest value of any logged metric is not finite.
    """

    code = "EG606"
    name = "metric-not-finite"
    severity = Severity.WARNING
    source = "IEEE 754"
    fix = "Look at the embeddings first, then at what the metric divides by."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding for all metrics."""
        broken = [name for name in history.signals("metric/") if not isfinite(history.series(name).last)]
        if broken:
            names = [name.removeprefix("metric/") for name in broken]
            yield self.finding(
                history, f"not finite: {', '.join(names[:5])}", site=names[0], evidence={"metrics": names}
            )


def _recalls(history: History, way: str) -> dict[str, float]:
    series = {f"R@{k}": history.series(f"metric/{way}/R@{k}") for k in (1, 5, 10)}
    return {name: s.last for name, s in series.items() if len(s) and isfinite(s.last)}


def _training_accuracy(history: History, windows: int) -> tuple[float, float] | None:
    """Best mean in-batch accuracy over the losses' newest windows, and the number of candidates."""
    found = []
    for site, series in history.of("loss/accuracy"):
        recent = [value for value in series.values[-windows:] if isfinite(value)]
        candidates = history.series("loss/candidates", site)
        if len(recent) >= windows and len(candidates) and candidates.last >= 8:
            found.append((sum(recent) / len(recent), candidates.last))
    return max(found, default=None)
