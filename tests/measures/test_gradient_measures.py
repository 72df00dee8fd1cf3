"""Measures of gradients and of samples: what they are on tensors that can be reckoned by hand."""

import pytest
import torch

from edgeglass_diag.measures.batches import joint_fingerprints, repeated, row_fingerprints
from edgeglass_diag.measures.gradients import cosine, row_signals


def test_the_cosine_is_that_of_all_tensors_together():
    one, other = [torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])], [torch.tensor([3.0, 0.0]), torch.tensor([[0.0]])]
    assert cosine(one, other).item() == pytest.approx(9 / (5 * 3))
    assert cosine(one, [-2 * part for part in one]).item() == pytest.approx(-1)
    assert cosine(one, [part.to(torch.bfloat16) for part in one]).item() == pytest.approx(1)
    assert cosine(one, [0 * part for part in one]).isnan()


def test_a_shard_without_rows_has_no_signal_and_ends_nothing():
    signals = row_signals([torch.ones(4, 8), torch.empty(0, 8), torch.eye(8)])
    assert signals[0] == 0
    assert signals[1].isnan()
    assert signals[2].item() == pytest.approx(7 / 8)


def test_a_sample_is_the_same_where_all_of_its_inputs_are():
    pictures, texts = torch.tensor([[1.0], [1.0], [2.0], [1.0]]), torch.tensor([[5], [6], [5], [5]])
    rows = joint_fingerprints([row_fingerprints(pictures), row_fingerprints(texts)])
    assert repeated(rows).item() == 1 / 4
    assert rows[0] == rows[3]
    turned = joint_fingerprints([row_fingerprints(texts), row_fingerprints(pictures)])
    assert not torch.equal(rows, turned)
