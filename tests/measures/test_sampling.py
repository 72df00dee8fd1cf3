"""The subset that is looked at, and the error that it costs."""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from edgeglass_diag.measures.sampling import Subset, standard_error, strided_subset


@example(batch=1, queries=83, each=1, budget=1)
@given(
    batch=st.integers(1, 300), queries=st.integers(1, 3000), each=st.integers(1, 10_000), budget=st.integers(1, 2**20)
)
def test_a_subset_keeps_the_budget_or_eight_of_each(batch, queries, each, budget):
    subset = strided_subset(batch, queries, each, budget)
    taken = torch.empty(batch, queries, device="meta")[subset.batch, subset.queries].shape
    assert tuple(taken) == subset.size
    assert taken[0] >= min(batch, 8)
    assert taken[1] >= min(queries, 8)
    if batch * queries * each <= budget:
        assert taken == (batch, queries)
    elif taken[1] > 20:  # a step that is set aside downwards, from 10 to 5 at worst, takes up to twice the eight
        # Rounding of the two steps may take a little more.
        assert taken.numel() * each <= 1.2 * budget


@pytest.mark.parametrize("side", [14, 16, 18, 24, 27, 32])
@pytest.mark.parametrize("budget", [2**k for k in range(10, 21)])
def test_queries_come_from_many_columns_of_an_image(side, budget):
    subset = strided_subset(8, side * side, 12 * side * side, budget)
    columns = {i % side for i in range(side * side)[subset.queries]}
    assert len(columns) >= min(side / 4, subset.size[1])


@pytest.mark.parametrize("heads", [4, 6, 8, 12, 16])
def test_elements_that_hold_heads_come_from_all_heads(heads):
    subset = strided_subset(64 * heads, 197, 197, 2**20, folded=True)
    assert {i % heads for i in range(64 * heads)[subset.batch]} == set(range(heads))


@pytest.mark.parametrize("part", [0.05, 0.2, 0.7])
@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("share", [1.0, 0.7])
def test_the_standard_error_is_the_spread_of_the_estimate(part, batch, share):
    # Each "head" is an experiment of its own.
    generator = torch.Generator().manual_seed(0)
    effect = 0.3 * torch.randn(batch, 4000, 1, generator=generator)
    values = effect + torch.randn(batch, 4000, 60, generator=generator)
    weights = (torch.rand(values.shape, generator=generator) < share).float()
    subset = strided_subset(batch, 60, 1, int(part * batch * 60))
    assert subset.size != subset.population

    def mean(v, w):
        return (v * w).sum((0, 2)) / w.sum((0, 2))

    taken = values[subset.batch, :, subset.queries], weights[subset.batch, :, subset.queries]
    error = (mean(*taken) - mean(values, weights)).square().mean().sqrt()
    stated = standard_error(taken[0], subset.population, None if share == 1 else taken[1]).square().mean().sqrt()
    assert float(stated / error) == pytest.approx(1.0, abs=0.1)


def test_nothing_left_out_costs_nothing():
    assert standard_error(torch.randn(3, 2, 5), (3, 5)).tolist() == [0.0, 0.0]
    assert not math.isnan(standard_error(torch.randn(1, 1, 1), (1, 1)).item())
    assert Subset((3, 5)).size == (3, 5)
