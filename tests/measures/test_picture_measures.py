"""What pictures of embeddings are made of, against slow references."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import skew
from sklearn.metrics import roc_auc_score

from edgeglass_diag.measures.geometry import effective_rank, uniformity
from edgeglass_diag.measures.hubness import hubness, occurrences
from edgeglass_diag.measures.similarity import cosine_density, separation
from edgeglass_diag.measures.spectrum import singular_values


def unit(rows, width, seed=0):
    drawn = np.random.default_rng(seed).standard_normal((rows, width)) + 0.4
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.mark.parametrize("block", [3, 1024])
def test_occurrences_are_counted_as_sorting_counts_them(block):
    queries, candidates = unit(40, 6), unit(25, 6, seed=1)
    expected = np.zeros(25)
    for query in queries:
        for place in sorted(range(25), key=lambda c: -float(query @ candidates[c]))[:4]:
            expected[place] += 1
    got = occurrences(queries, candidates, 4, block=block)
    assert got.tolist() == expected.tolist()
    found = hubness(got, 4)
    assert found.skew == pytest.approx(skew(expected))
    assert found.never == np.mean(expected == 0)
    assert found.largest == expected.max()


def test_tied_candidates_share_their_places():
    queries, one = unit(30, 5), unit(1, 5, seed=2)
    found = occurrences(queries, np.repeat(one, 12, axis=0), 4)
    assert found == pytest.approx(np.full(12, 30 * 4 / 12))
    assert hubness(found, 4).skew == 0
    first, second = queries[:1], np.repeat(-queries[:1], 3, axis=0)
    assert occurrences(first, np.concatenate([first, second]), 2) == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3])


def test_constant_queries_make_hubs_and_few_candidates_are_all_found():
    queries, candidates = np.repeat(unit(1, 8), 50, axis=0), unit(40, 8, seed=3)
    found = hubness(occurrences(queries, candidates, 5), 5)
    assert (found.largest, found.never) == (50, 35 / 40)
    assert found.skew > 2
    assert occurrences(queries, candidates[:3], 10).tolist() == [50, 50, 50]
    with pytest.raises(ValueError, match="at least 1 candidate, got 0"):
        hubness(np.zeros(0))


def test_densities_integrate_to_one_also_at_the_border():
    drawn = np.random.default_rng(0)
    for cosines in (drawn.normal(0.2, 0.1, 500), 1 - np.abs(drawn.normal(0, 0.01, 500)), np.array([0.1, 0.9])):
        grid, density = cosine_density(cosines.clip(-1, 1), points=2000)
        assert -1 <= grid.min() < grid.max() <= 1
        assert np.trapezoid(density, grid) == pytest.approx(1, abs=2e-3)
    assert cosine_density(np.full(9, 0.3)) is None
    assert cosine_density(np.array([0.3])) is None


def test_separation_is_the_area_under_the_roc_curve():
    drawn = np.random.default_rng(1)
    pairs, others = drawn.normal(0.3, 0.2, 60).round(2), drawn.normal(0.1, 0.2, 90).round(2)  # with ties
    labels, scores = np.r_[np.ones(60), np.zeros(90)], np.r_[pairs, others]
    assert separation(pairs, others) == pytest.approx(roc_auc_score(labels, scores))
    assert separation(np.ones(3), np.ones(4)) == 0.5
    assert math.isnan(separation(np.ones(0), np.ones(4)))


@pytest.mark.parametrize("shape", [(7, 12), (30, 5)])
def test_singular_values_are_those_of_the_svd_and_give_the_effective_rank(shape):
    values = np.random.default_rng(2).standard_normal(shape)
    got = singular_values(values)
    assert got == pytest.approx(np.linalg.svd(values, compute_uv=False))
    share = got / got.sum()
    assert np.exp(-(share * np.log(share)).sum()) == pytest.approx(float(effective_rank(torch.from_numpy(values))))
    assert singular_values(1e200 * values) == pytest.approx(1e200 * got)


def test_rounding_is_no_singular_value():
    assert np.count_nonzero(singular_values(np.outer(np.arange(1, 9), np.arange(1, 6)))) == 1
    assert singular_values(np.zeros((4, 3))).tolist() == [0, 0, 0]


def test_rows_of_zeros_are_one_point_and_not_uniform():
    rows = torch.zeros(6, 4)
    assert float(uniformity(rows)) == pytest.approx(0)
    rows[0, 0] = 1
    expected = math.log((10 + 5 * math.exp(-2)) / 15)  # ten pairs of zeros, five at distance 1
    assert float(uniformity(rows, block=2)) == pytest.approx(expected)
