"""A strided subset of batch elements and queries: views, no gather, no random number; and what it costs in error."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from math import ceil, gcd

from torch import Tensor

_LEAST = 8
_LEAST_FOLDED = 64
_GRID_SIDES = 2 * 3 * 7
_NEAR = 4


@dataclass(frozen=True, slots=True)
class Subset:
    """Which of ``population`` (batch elements, queries) are looked at: every step-th, beginning in mid-step."""

    population: tuple[int, int]
    steps: tuple[int, int] = (1, 1)

    @property
    def batch(self) -> slice:
        """Slice of the batch elements."""
        return slice(self.steps[0] // 2, None, self.steps[0])

    @property
    def queries(self) -> slice:
        """Slice of the queries."""
        return slice(self.steps[1] // 2, None, self.steps[1])

    @property
    def size(self) -> tuple[int, int]:
        """Number of batch elements and of queries taken."""
        (batch, queries), (batch_step, query_step) = self.population, self.steps
        return len(range(batch_step // 2, batch, batch_step)), len(range(query_step // 2, queries, query_step))


def strided_subset(
    batch: int, queries: int, logits_per_query: int, budget: int | None, *, folded: bool = False
) -> Subset:
    """The subset of an attention whose logits number at most about ``budget``; all where that is enough.

    Batch elements are thinned first, since they are the independent ones, down to 8; then queries, down to 8.
    Steps above 4 share no factor with 2, 3 and 7: the sides of image grids (14, 16, 24, 27 ...) are multiples of
    these, and a step that divides the side would look at few columns of the image only.
    Where queries are thinned the first of them, a class token maybe, is left out rather than counted manifold.

    Args:
        batch: number of batch elements B.
        queries: number of queries L.
        logits_per_query: heads x keys, H S.
        budget: largest number of logits; no bound where None.
        folded: the batch dimension holds heads as well, as (B H, L, S) does: at least 64 elements are taken, with
            a step that shares no factor with usual numbers of heads.
    """
    excess = 0.0 if budget is None else batch * queries * logits_per_query / budget
    if excess <= 1:
        return Subset((batch, queries))
    most = max(1, batch // (_LEAST_FOLDED if folded else _LEAST)), max(1, queries // _LEAST)
    batch_step = _aside(min(ceil(excess), most[0]), most=0, near=1 if folded else _NEAR)
    query_step = _aside(min(ceil(excess / batch_step), most[1]), most=most[1], near=_NEAR)
    return Subset((batch, queries), (batch_step, query_step))


def _aside(step: int, *, most: int, near: int) -> int:
    """The next step up to ``most``, or else down to ``near``, that shares no factor with the sides of grids."""
    upwards = range(step, most + 1)
    downwards = range(step, near, -1)
    return next((s for s in chain(upwards, downwards) if s <= near or gcd(s, _GRID_SIDES) == 1), min(step, near))


def standard_error(values: Tensor, population: tuple[int, int], weights: Tensor | None = None) -> Tensor:
    """Standard error of the weighted mean over m of M batch elements and n of N queries of each.

    v = (1 - m/M) s1^2 / m + (m/M) (1 - n/N) s2^2 / (m n), with s1^2 the variance between the elements' means and s2^2
    the variance within elements, of x or, with weights, of the residuals w (x - mean) / mean(w). The finite
    population is corrected for: 0 where all are taken. Strided elements are taken for random ones.

    Source: Cochran, Sampling Techniques (3rd ed., 1977), chapter 10, two-stage sampling.

    Args:
        values: (m, H, n).
        population: (M, N).
        weights: the same shape, 1 where the query counts and 0 where it does not; all count where None.

    Returns:
        (H,)
    """
    elements, heads, queries = values.shape
    first, second = elements / population[0], queries / population[1]
    if weights is not None:
        share = weights.mean((0, 2), keepdim=True)
        mean = (values * weights).mean((0, 2), keepdim=True) / share
        values = (values - mean) * weights / share
    error = values.new_zeros(heads)
    if first < 1:
        error = error + (1 - first) / elements * values.mean(2).var(0, correction=1)
    if second < 1:
        error = error + first * (1 - second) / (elements * queries) * values.var(2, correction=1).mean(0)
    return error.sqrt()
