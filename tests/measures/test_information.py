"""The information of a score, against loops and by what it must be."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cosine_similarity

from edgeglass_diag.measures.information import information, shuffled


def by_loops(image, text):
    values = []
    for i in range(len(image)):
        wins = 0.0
        own = cosine_similarity(image[i], text[i], dim=0)
        for j in range(len(image)):
            if j != i:
                for other in (
                    cosine_similarity(image[i], text[j], dim=0),
                    cosine_similarity(image[j], text[i], dim=0),
                ):
                    wins += 0 if abs(own - other) <= 2**-20 else 1 if own > other else -1
        values.append(wins / (2 * (len(image) - 1)))
    return torch.tensor(values)


def sides(count=30, width=8, noise=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    text = torch.randn(count, width, generator=generator)
    return text + noise * torch.randn(count, width, generator=generator), text


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 12), st.floats(0, 3), st.integers(0, 100))
def test_it_is_what_the_loops_say(count, noise, seed):
    image, text = (side.double() for side in sides(count, 4, noise, seed))
    torch.testing.assert_close(information(image, text).float(), by_loops(image, text))


def test_a_perfect_side_has_all_and_a_constant_one_none():
    image, text = sides(noise=0)
    assert information(image, text).mean() == 1
    for constant in (torch.ones_like(image), torch.zeros_like(image), image[:1].expand_as(image)):
        assert abs(float(information(constant, text).mean())) < 1e-6
        assert abs(float(information(image, torch.ones_like(text)).mean())) < 1e-6


def test_shuffled_pairs_have_none_and_order_does_not_matter():
    image, text = sides(400)
    assert float(information(image, text).mean()) > 0.7
    assert abs(float(information(image[shuffled(400)], text).mean())) < 0.1
    order = torch.randperm(400, generator=torch.Generator().manual_seed(1))
    assert torch.equal(information(image[order], text[order]), information(image, text)[order])


@settings(deadline=None)
@given(st.integers(2, 50), st.integers(0, 20))
def test_nothing_stays_in_its_place(count, seed):
    moved = shuffled(count, seed=seed)
    assert sorted(moved.tolist()) == list(range(count))
    assert not (moved == torch.arange(count)).any()


def test_what_it_cannot_take_is_named():
    image, text = sides(4)
    with pytest.raises(ValueError, match=r"expected two of shape \(N, D\) with N > 1, got \(4, 8\) and \(3, 8\)"):
        information(image, text[:3])
    with pytest.raises(ValueError, match="expected finite embeddings, got NaN or infinities"):
        information(image.index_fill(0, torch.tensor(1), torch.nan), text)
    with pytest.raises(ValueError, match="count: expected at least 2, got 1"):
        shuffled(1)
