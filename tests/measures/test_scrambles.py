"""Reshapes that split or merge dimensions are distinguished from those that scramble elements."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgeglass_diag.measures.reshapes import scrambles

MEANT = [
    ((8, 16, 64), (8, 16, 4, 16)),  # heads
    ((8, 16, 192), (8, 16, 3, 4, 16)),  # queries, keys and values
    ((8, 16, 4, 16), (8, 16, 64)),
    ((8, 4, 16, 16), (32, 16, 16)),  # heads into the batch
    ((24, 16, 64), (24, 64, 16)),  # sequence first: a factor of heads may move from the width to the batch of 16
    ((17, 16, 64), (17, 64, 16)),
    ((8, 3, 224, 224), (8, 3, 14, 16, 14, 16)),  # patches
    ((16, 64, 16), (256, 64)),  # both at once
    ((2, 32, 32, 1024), (2, 32, 16, 2048)),  # pixel shuffle by views
    ((24, 16, 64), (8, 48, 64)),  # three views of a sample put into one row
    ((8, 64, 64), (8, 8, 8, 64)),
    ((8, 1, 64), (8, 4, 1, 16)),  # one query
    ((0, 16, 64), (0, 4, 16, 16)),
    ((), (1,)),
]
SCRAMBLED = [
    ((8, 16, 64), (8, 4, 16, 16)),  # heads before positions
    ((8, 12, 64), (8, 4, 12, 16)),
    ((8, 2, 64), (8, 4, 2, 16)),
    ((8, 4, 16, 16), (8, 16, 64)),  # not transposed back
    ((48, 24, 64), (24, 48, 4, 16)),  # positions before samples
    ((8, 16, 192), (3, 8, 16, 4, 16)),
]


@pytest.mark.parametrize(("before", "after"), MEANT)
def test_splits_and_merges_are_meant(before, after):
    assert not scrambles(before, after)


@pytest.mark.parametrize(("before", "after"), SCRAMBLED)
def test_dimensions_that_move_without_their_elements_are_scrambled(before, after):
    assert scrambles(before, after)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.data())
def test_flattening_some_neighbours_and_undoing_it_is_meant(shape, data):
    low = data.draw(st.integers(0, len(shape) - 1))
    high = data.draw(st.integers(low, len(shape) - 1))
    merged = torch.empty(shape).flatten(low, high).shape
    assert not scrambles(shape, merged)
    assert not scrambles(merged, shape)
