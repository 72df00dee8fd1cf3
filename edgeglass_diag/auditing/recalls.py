"""Arithmetic of logged recalls: how many queries, exactly chance, in order, in range."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from edgeglass_diag.auditing.conclusion import Concluded, Work, conclude
from edgeglass_diag.auditing.contradictions import NOT_A_MULTIPLE, OUT_OF_RANGE
from edgeglass_diag.auditing.counts import Count, infer_count
from edgeglass_diag.auditing.logged import FLOAT32, Case, Series, Table
from edgeglass_diag.records import Severity
from edgeglass_diag.rules.recalls import RecallExactlyChance, RecallsOutOfOrder


@dataclass(frozen=True)
class Recalls:
    """R@K of one direction in the last row of one table."""

    way: str
    by_k: Mapping[int, Series]

    @property
    def values(self) -> dict[int, float]:
        """K -> recall as a fraction."""
        return {k: series.last for k, series in self.by_k.items()}

    @property
    def first(self) -> Series:
        """The series of the least K."""
        return self.by_k[min(self.by_k)]


def last_recalls(case: Case) -> Iterator[tuple[Table, Recalls]]:
    """The newest recalls of each table and direction."""
    for table, series in case.tables():
        groups: dict[tuple[str, str], dict[int, Series]] = {}
        for one in series:
            if one.role.kind == "recall":
                groups.setdefault((one.role.way, one.role.split), {})[one.role.k] = one
        for (way, _), by_k in groups.items():
            newest = max(one.last_step for one in by_k.values())
            now = {k: one for k, one in sorted(by_k.items()) if one.last_step == newest}
            yield table, Recalls(way, now)


def counts(case: Case) -> dict[str, Count]:
    """For each direction the number of queries that the digits of its recalls tell."""
    found: dict[str, Count] = {}
    for way in dict.fromkeys(s.role.way for s in case.of("recall")):
        for tolerance in sorted({s.tolerance for s in case.of("recall", way=way)}):
            values = [v for s in case.of("recall", way=way) if s.tolerance == tolerance for v in s.values[-3:]]
            count = infer_count(values, tolerance)
            if count is not None:
                found[way] = count
                break
    return found


def sizes(case: Case, counted: Mapping[str, Count]) -> dict[str, int]:
    """Numbers of pairs that are known, and from where: ``n`` as logged or set, or inferred from the recalls."""
    known = {f"column {s.label}": int(s.last) for s in case.of("n") if math.isfinite(s.last) and s.last >= 2}
    for key, value in case.settings.items():
        word = key.lower().rsplit("/", 1)[-1]
        if isinstance(value, int) and not isinstance(value, bool) and value >= 2 and word in _SIZES:
            known[f"setting {key}"] = value
    for way, count in counted.items():
        known[f"the digits of the {way or 'logged'} recalls"] = count.n
    return known


_SIZES = {"val", "test", "validation", "n_val", "n_test", "val_size", "test_size", "gallery", "gallery_size", "n"}


def logged_count(case: Case) -> int | None:
    """The number of pairs as a column tells it."""
    return next((int(s.last) for s in case.of("n") if math.isfinite(s.last) and s.last >= 2), None)


def exactly_chance(case: Case, n: int) -> list[tuple[Recalls, float]]:
    """Directions whose recalls are exactly K/N for at least two K, with the probability of that for random ranks.

    A recall is a whole number of hits, so digits that leave less than half a hit open tell it. Of several tables that
    one of each direction is taken that tells most. Hits of random ranks in disjoint bands of K are nearly independent
    Poisson counts with the widths as means.
    """
    found: dict[str, tuple[Recalls, float]] = {}
    for _, recalls in last_recalls(case):
        told = {k: v for k, v in recalls.values.items() if recalls.by_k[k].tolerance * n <= 0.5}
        exact = [abs(v * n - k) <= recalls.by_k[k].tolerance * n + 4 * FLOAT32 * k for k, v in told.items()]
        if len(told) >= 2 and all(exact) and n >= RecallExactlyChance.least:
            edges = [0, *sorted(told)]
            chance = math.prod(_poisson(high - low) for low, high in pairwise(edges))
            if recalls.way not in found or chance < found[recalls.way][1]:
                found[recalls.way] = (recalls, chance)
    return list(found.values())


def _poisson(mean: int) -> float:
    return math.exp(mean * math.log(mean) - mean - math.lgamma(mean + 1))


def exactly_chance_finding(
    case: Case, recalls: Recalls, n: int, probability: float, *, certain: bool, because_of: str | None
) -> Concluded:
    """EG601; critical where something else says the same, else only a fact: random ranks do this now and then."""
    ks = sorted(recalls.values)
    terms = ", ".join(f"R@{k} x {n} = {recalls.values[k] * n:.4f}" for k in ks)
    return conclude(
        RecallExactlyChance, case, recalls.first,
        f"{recalls.way} {', '.join(f'R@{k}' for k in ks)} are exactly {', '.join(f'{k}/{n}' for k in ks)}: every query "
        f"got the same ranking (random ranks give this with probability {probability:.2g})",
        severity=Severity.CRITICAL if certain else Severity.INFO, because_of=because_of,
        evidence={"n": n, "probability": probability, **{f"R@{k}": v for k, v in recalls.values.items()}},
        work=Work((terms,)),
    )  # fmt: skip


def impossible_recalls(case: Case, counted: Mapping[str, Count]) -> Iterator[Concluded]:
    """Yield recalls out of range, falling with K, or no multiples of 1/N for the logged N."""
    for one in case.of("recall"):
        outside = [v for v in one.values if v < 0 or v > 1 + one.tolerance]
        if outside:
            yield conclude(
                OUT_OF_RANGE, case, one, f"{one.label} = {outside[0]:.6g} is no share of queries",
                evidence={"value": outside[0]},
            )  # fmt: skip
    yield from _falling(case)
    logged = logged_count(case)
    for _, recalls in last_recalls(case):
        for k, one in recalls.by_k.items():
            room = one.open_by(one.last) * (logged or 1)
            if logged and recalls.way not in counted and room <= 0.05 and _off(one.last * logged) > room:
                yield conclude(
                    NOT_A_MULTIPLE, case, one,
                    f"{one.label} x {logged} = {one.last * logged:.4f} is no whole number of queries",
                    evidence={"n": logged, "k": k, "value": one.last},
                )  # fmt: skip


def _off(value: float) -> float:
    return abs(value - round(value))


def _falling(case: Case) -> Iterator[Concluded]:
    for table, _ in case.tables():
        groups: dict[tuple[str, str], list[Series]] = {}
        for one in case.of("recall"):
            if one.table is table:
                groups.setdefault((one.role.way, one.role.split), []).append(one)
        for group in groups.values():
            for low, high in pairwise(sorted(group, key=lambda s: s.role.k)):
                at = dict(zip(low.steps, low.values, strict=True))
                for step, value in zip(high.steps, high.values, strict=True):
                    if step in at and at[step] > value + low.tolerance + high.tolerance + FLOAT32:
                        yield conclude(
                            RecallsOutOfOrder, case, high,
                            f"R@{high.role.k} = {value:.6g} is below R@{low.role.k} = {at[step]:.6g} at step {step}",
                            evidence={f"R@{high.role.k}": value, f"R@{low.role.k}": at[step], "step": step},
                        )  # fmt: skip
                        break
