"""Measures of gradients and of samples: what they are on tensors that can be reckoned by hand."""

import pytest
import torch

from edgeglass_diag.measures.batches import joint_fingerprints, repeated, row_fingerprints
from edgeglass_diag.measures.gradients import SAMPLED, cosine, norms, row_signals, sample, samples, update_ratios


def test_the_cosine_is_that_of_all_tensors_together():
    one, other = [torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])], [torch.tensor([3.0, 0.0]), torch.tensor([[0.0]])]
    assert cosine(one, other).item() == pytest.approx(9 / (5 * 3))
    assert cosine(one, [-2 * part for part in one]).item() == pytest.approx(-1)
    assert cosine(one, [part.to(torch.bfloat16) for part in one]).item() == pytest.approx(1)
    assert cosine(one, [0 * part for part in one]).isnan()


def weights(*sizes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, generator=generator) for size in sizes]


@pytest.mark.parametrize("sizes", [((4, 3), (5,), (2, 2)), ((4, 3),), ((4, 3), (SAMPLED + 1,), (5,))])
def test_what_is_told_of_samples_is_that_of_each_tensor_alone(sizes):
    before = weights(*sizes)
    after = [old + 0.01 * move for old, move in zip(before, weights(*reversed(sizes))[::-1], strict=True)]
    old, new = samples(before), samples(after)
    alone = [sample(tensor) for tensor in before], [sample(tensor) for tensor in after]
    assert all(torch.equal(a, b) for a, b in zip(old, alone[0], strict=True))
    assert torch.equal(update_ratios(old, new), update_ratios(*alone))
    assert torch.equal(norms(old), norms(alone[0]))
    assert cosine(old, new).item() == pytest.approx(cosine(*alone).item(), rel=1e-6)


@pytest.mark.parametrize("size", [4, 4096, 4097, SAMPLED, SAMPLED + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norms_and_ratios_are_those_in_double_precision_at_each_size(size, dtype):
    before = [weight.to(dtype) for weight in weights((size,), (3, 3), (size,))]
    after = [(weight + 0.1 * weight.flip(0)).to(dtype) for weight in before]
    lengths = [weight.double().norm() for weight in before]
    torch.testing.assert_close(norms(before).double(), torch.stack(lengths), rtol=1e-5, atol=0)
    moved = [(new - old).double().norm() for old, new in zip(before, after, strict=True)]
    expected = torch.stack([move / length for move, length in zip(moved, lengths, strict=True)])
    torch.testing.assert_close(update_ratios(before, after).double(), expected, rtol=1e-5, atol=0)


def test_samples_of_parts_of_one_tensor_are_copies():
    whole = torch.arange(6.0)
    before = samples(list(whole.split(3)))
    whole += 1
    assert torch.cat(before).tolist() == list(range(6))


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
