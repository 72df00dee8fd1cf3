"""Recalls whose growth with K tells how candidates are ranked: several copies of a picture, or nothing at all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from edgeglass_diag.auditing.conclusion import Concluded, Work, conclude
from edgeglass_diag.auditing.logged import Case, Series, Table
from edgeglass_diag.auditing.trainings import RECALL_AT_CHANCE, TIED_PAIRS
from edgeglass_diag.auditing.trend import middle
from edgeglass_diag.records import Severity

COPIES = 0.1
"""Relative room of R@K / R@1 about K: two standard deviations of 400 hits."""
NEAR = 0.75
GROWTH = 0.8
"""g of 1 - R@K = (1 - R@1)^(K^g): published retrieval has .5 to .7 (VSE++ .72, CLIP .55), a rank without memory 1."""
NEXT = 0.35
"""Share of the hits per rank of the first K that the next ranks have at most; random ranks have all of it."""
CHANCE = 0.2
EVALUATIONS = 3
LARGEST = 0.15
"""R@K of the largest K above which ranks are not those of chance over a gallery that anybody evaluates."""


@dataclass(frozen=True)
class _Way:
    """Recalls of one direction, split and table, by K, in the rows that have all of them."""

    way: str
    first: Series
    rows: tuple[Mapping[int, float], ...]
    tolerance: float


def recall_growth(case: Case) -> Iterator[Concluded]:
    """EG609 and EG610 of each direction."""
    for one in _ways(case):
        yield from _copies(case, one)
        yield from _chance(case, one)


def _ways(case: Case) -> Iterator[_Way]:
    groups: dict[tuple[str, str, int], dict[int, Series]] = {}
    tables: dict[int, Table] = {}
    for series in case.of("recall"):
        tables[id(series.table)] = series.table
        groups.setdefault((series.role.way, series.role.split, id(series.table)), {})[series.role.k] = series
    for (way, _, _), by_k in groups.items():
        ks = sorted(by_k)
        if len(ks) < 3 or ks[0] != 1:
            continue
        held = {k: dict(by_k[k].finite) for k in ks}
        steps = [step for step in held[1] if all(step in held[k] for k in ks)]
        rows = tuple({k: held[k][step] for k in ks} for step in steps)
        if rows:
            yield _Way(way, by_k[1], rows, by_k[1].tolerance)


def _copies(case: Case, one: _Way) -> Iterator[Concluded]:
    """EG609, of the mean over the second half of the evaluations; a fact alone where there is but one.

    - R@K = K R@1, and the ranks behind K have a third of the hits of those before. In an honest ranking the first rank
      has the most hits of all, so that R@5 = 5 R@1 only where nothing is ranked, and then R@10 = 2 R@5.
    - R@1 is at its bound 1/K in all evaluations and R@K far above what goes with it: one picture that looks for K
      captions of its own, one of which counts.
    """
    half = one.rows[len(one.rows) // 2 :]
    now = {k: sum(row[k] for row in half) / len(half) for k in half[0]}
    ks = sorted(now)
    most = max(row[1] for row in one.rows)
    for k, larger in pairwise(ks[1:]):
        small, tied, behind = now[1], now[k], now[larger]
        if small <= 20 * one.tolerance or small > 1 / k + one.tolerance:
            continue
        even = abs(tied / (k * small) - 1) <= COPIES + one.tolerance / small
        ends = (behind - tied) / (larger - k) <= NEXT * tied / k
        bounded = NEAR / k <= small and most <= 1.05 / k and tied > 1 - (1 - small) ** (k**GROWTH)
        if not (even and ends) and not bounded:
            continue
        yield conclude(
            TIED_PAIRS, case, one.first,
            f"{one.way} R@1 = {small:.4g}, R@{k} = {tied:.4g} is {tied / small:.2f} times that, and R@{larger} = "
            f"{behind:.4g}: {k} entries of the gallery are the same, so that R@1 cannot exceed 1/{k}",
            severity=None if len(one.rows) > 1 else Severity.INFO,
            evidence={"R@1": small, f"R@{k}": tied, f"R@{larger}": behind, "copies": k},
            work=Work((f"{tied:.5g} / {small:.5g} = {tied / small:.3f}, of ties {k}",)),
        )  # fmt: skip
        return


def _chance(case: Case, one: _Way) -> Iterator[Concluded]:
    """EG610: over all evaluations, three at least, R@K grows in proportion to K, and none is above the others."""
    if len(one.rows) < EVALUATIONS:
        return
    ks = sorted(one.rows[0])
    means = {k: sum(row[k] for row in one.rows) / len(one.rows) for k in ks}
    largest = ks[-1]
    if not 0 < means[largest] <= LARGEST or means[1] <= 0:
        return
    unit = means[largest] / largest
    scatter = 3 * unit / math.sqrt(len(one.rows))  # of k hits: the deviation of a Poisson count is sqrt(k)
    room = {k: min(max(CHANCE * k * unit, scatter * math.sqrt(k)), k * unit / 2) + one.tolerance for k in ks}
    if any(abs(means[k] - k * unit) > room[k] for k in ks):
        return
    tops = [row[largest] for row in one.rows]
    if middle(tops[-EVALUATIONS:]) > 1.3 * middle(tops[:EVALUATIONS]) + one.tolerance:
        return
    told = ", ".join(f"R@{k} = {means[k]:.4g}" for k in ks)
    yield conclude(
        RECALL_AT_CHANCE, case, one.first,
        f"{one.way} {told} on average over {len(one.rows)} evaluations: in proportion to K, as random ranks among "
        f"{1 / unit:.0f} candidates give",
        evidence={**{f"R@{k}": value for k, value in means.items()}, "n": 1 / unit},
        work=Work((f"R@{largest} / {largest} = {unit:.5g}, R@1 = {means[1]:.5g}",)),
    )  # fmt: skip
