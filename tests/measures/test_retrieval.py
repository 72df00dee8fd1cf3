"""Recall against a slow reference, its tie rule, and its refusals."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeglass_diag.measures.retrieval import recall_at_k


def slow(queries, gallery, k):
    queries = torch.nn.functional.normalize(queries.double(), dim=-1)
    gallery = torch.nn.functional.normalize(gallery.double(), dim=-1)
    hits = 0
    for i, query in enumerate(queries):
        scores = gallery @ query
        hits += int((scores > scores[i]).sum()) < k
    return hits / len(queries)


@given(st.integers(0, 9999), st.integers(1, 40), st.integers(2, 9), st.integers(1, 7))
@settings(deadline=None, max_examples=50)
def test_recall_equals_the_slow_one_for_any_block(seed, count, width, block):
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn(count, width, generator=generator)
    gallery = queries + torch.randn(count, width, generator=generator)
    got = recall_at_k(queries, gallery, (1, 3, 5), block=block)[width]
    for k, recall in got.items():
        assert recall == pytest.approx(slow(queries, gallery, k), abs=1e-9)
    assert got[1] <= got[3] <= got[5]


@pytest.mark.parametrize("constant", ["queries", "gallery"])
def test_a_constant_side_gives_exactly_k_over_n(constant):
    varied, same = torch.randn(200, 16), torch.randn(16).expand(200, 16) + 1e-9 * torch.randn(200, 16)
    sides = (same, varied) if constant == "queries" else (varied, same)
    assert recall_at_k(*sides)[16] == pytest.approx({1: 1 / 200, 5: 5 / 200, 10: 10 / 200}, abs=1e-12)


def test_prefixes_are_sliced_before_they_are_normalised():
    queries, gallery = torch.randn(50, 8), torch.randn(50, 8)
    table = recall_at_k(queries, gallery, (1,), dims=[8, 4])
    assert table[4] == recall_at_k(queries[:, :4], gallery[:, :4], (1,))[4]
    assert set(table) == {8, 4}


def test_embeddings_that_are_not_finite_are_counted_and_refused():
    bad = torch.randn(5, 3)
    bad[1, 2] = float("nan")
    with pytest.raises(ValueError, match="gallery: 1 of 5 embeddings are not finite and cannot be ranked"):
        recall_at_k(torch.randn(5, 3), bad)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"queries": torch.randn(3, 2), "gallery": torch.randn(4, 2)}, r"got \(3, 2\) and \(4, 2\)"),
        ({"queries": torch.randn(0, 2), "gallery": torch.randn(0, 2)}, "must not be empty"),
        ({"queries": torch.ones(3, 2), "gallery": torch.ones(3, 2), "ks": (0,)}, "at least 1, got"),
        ({"queries": torch.ones(3, 2), "gallery": torch.ones(3, 2), "dims": [3]}, r"in \[1, 2\], got \[3\]"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        recall_at_k(**arguments)
