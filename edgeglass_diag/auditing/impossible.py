"""Losses and recalls that cannot be true together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from edgeglass_diag.auditing.conclusion import Concluded, Work, conclude
from edgeglass_diag.auditing.contradictions import RECALL_AT_CHANCE_LOSS
from edgeglass_diag.auditing.logged import Case, Series
from edgeglass_diag.auditing.losses import AtChance
from edgeglass_diag.auditing.recalls import Recalls, last_recalls
from edgeglass_diag.measures.chance import wrong_answers_floor
from edgeglass_diag.records import Severity
from edgeglass_diag.rules.loss import LossBelowPossible


def wrong_share(recalls: Mapping[int, float], n: int, batch: int) -> float:
    """Least expected share of queries answered wrong within random batches of B out of N pairs.

    A query between two Ks has at least K pairs that are nearer than its own; all of them stay out of its batch with
    probability about (1 - K/(N-1))^(B-1). Of each band of ranks the least K is taken.

    Example:
        >>> round(wrong_share({1: 0.523, 5: 0.785}, 2984, 128), 4)
        0.0522
    """
    ks = sorted(recalls)
    bands = [*pairwise([recalls[k] for k in ks]), (recalls[ks[-1]], 1.0)]
    share = 0.0
    for k, (low, high) in zip(ks, bands, strict=True):
        share += max(0.0, high - low) * (1 - max(0.0, 1 - k / (n - 1)) ** (batch - 1))
    return share


def loss_below_possible(case: Case, *, n: int | None, batch: int | None) -> Iterator[Concluded]:
    """EG402: a validation loss lower than the wrong answers of its recalls cost, ln 2 each.

    The bound is an expectation over batches; a loss is flagged below ``share`` (a half) of it, after its digits.
    """
    if n is None or batch is None or not 2 <= batch <= n or "sigmoid" in str(dict(case.settings)).lower():
        return
    share = LossBelowPossible.share
    for table, recalls in last_recalls(case):
        edges = [0.0, *recalls.values.values(), 1.0]
        if not all(low <= high for low, high in pairwise(edges)):  # out of order or range, which is said by itself
            continue
        wrong = wrong_share(recalls.values, n, batch)
        bound = wrong_answers_floor(1 - wrong)
        for series in _validation(case):
            if series.table is not table or not series.last + series.tolerance < share * bound:
                continue
            yield _below(case, series, recalls, bound=bound, wrong=wrong, sizes=(n, batch))


def _validation(case: Case) -> Iterator[Series]:
    for series in case.of("loss"):
        if series.role.split in ("val", "test") and series.role.contrastive:
            yield series


def _below(
    case: Case, series: Series, recalls: Recalls, *, bound: float, wrong: float, sizes: tuple[int, int]
) -> Concluded:
    n, batch = sizes
    told = ", ".join(f"R@{k} = {v:.4g}" for k, v in recalls.values.items())
    exact = series.last <= 0
    return conclude(
        LossBelowPossible, case, series,
        f"{series.label} = {series.last:.4g} with {recalls.way} {told}: over {n} pairs in batches of {batch} at least "
        f"{wrong:.2%} of the answers are wrong and cost ln 2 each, {bound:.3g} on average",
        severity=Severity.CRITICAL if exact else Severity.WARNING,
        evidence={
            "value": series.last, "bound": bound, "wrong_share": wrong, "n": n, "batch_size": batch,
            "tolerance": series.tolerance,
        },
        work=Work(
            (f"{wrong:.5f} x ln 2 = {bound:.5f} > {series.last:.5g} + {series.tolerance:.2g} (its digits)",)
        ),
    )  # fmt: skip


def recall_despite_chance(case: Case, states: list[AtChance], n: int | None) -> Iterator[Concluded]:
    """EG653: a validation loss that is exactly that of a uniform softmax, with recalls far above chance.

    Far: above ten times K/N and above 10 %; with equal scores every honest way to break ties gives K/N.
    """
    if n is None:
        return
    at = {id(one.series.table): one for one in states if one.series.role.split in ("val", "test")}
    for table, recalls in last_recalls(case):
        one = at.get(id(table))
        k, value = next(iter(recalls.values.items()))
        if one is None or one.series.last_step != recalls.first.last_step or value <= max(0.1, 10 * k / n):
            continue
        yield conclude(
            RECALL_AT_CHANCE_LOSS, case, recalls.first,
            f"{recalls.way} R@{k} = {value:.4g} with {one.series.label} = {one.series.last:.6g} = "
            f"{one.level.arithmetic}: with a uniform softmax all scores are equal and R@{k} is {k}/{n}",
            evidence={f"R@{k}": value, "loss": one.series.last, "n": n}, work=Work((one.level.arithmetic,)),
        )  # fmt: skip
