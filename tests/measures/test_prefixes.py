"""Rotations, axes, quantisation and the knee: what they promise."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeglass_diag.measures.prefixes import knee, principal_axes, random_dims, random_rotation
from edgeglass_diag.measures.quantisation import to_binary, to_int8
from edgeglass_diag.measures.retrieval import unit_rows


def test_a_random_rotation_is_orthogonal_and_its_columns_are_nested():
    whole = random_rotation(24, 24)
    assert torch.allclose(whole.T @ whole, torch.eye(24), atol=1e-5)
    assert torch.allclose(random_rotation(24, 24, seed=1) @ whole.T, whole, atol=0.1) is False
    assert sorted(random_dims(24).tolist()) == list(range(24))


@pytest.mark.parametrize("block", [7, 1024])
def test_principal_axes_are_those_of_numpy(block):
    generator = torch.Generator().manual_seed(0)
    scale = torch.linspace(3, 0.5, 6)
    image = unit_rows(torch.randn(90, 6, generator=generator) * scale + 5)
    text = unit_rows(torch.randn(50, 6, generator=generator) * scale - 5)
    axes = principal_axes(image, text, block=block)
    covariance = sum(np.cov(side.T.double().numpy(), bias=True) for side in (image, text))
    vectors = np.linalg.eigh(covariance)[1]
    overlap = np.abs(vectors[:, ::-1].T @ axes.double().numpy())
    assert overlap == pytest.approx(np.eye(6), abs=1e-3)


def test_int8_has_255_levels_on_one_scale_for_both_sides():
    image, text = torch.tensor([[1.0, 0.0], [-0.5, 0.0]]), torch.tensor([[2.0, 0.0], [torch.nan, torch.nan]])
    left, right = to_int8(image, text)
    codes = torch.cat([left, right])[:, 0] * 127 / 2
    assert codes[:3].tolist() == pytest.approx([64, -32, 127])
    assert right[1].isnan().all()
    generator = torch.Generator().manual_seed(0)
    many = unit_rows(torch.randn(500, 8, generator=generator))
    assert len(torch.unique(to_int8(many, many)[0][:, 3])) <= 255
    assert (to_int8(many, many)[0] - many).abs().max() <= many.abs().max() / 127 / 2 * 1.001


def test_binary_is_hamming():
    generator = torch.Generator().manual_seed(0)
    image, text = torch.randn(5, 16, generator=generator), torch.randn(5, 16, generator=generator)
    left, right = to_binary(image, text)
    hamming = ((image > 0) != (text > 0)).sum(1)
    assert (left * right).mean(1).tolist() == pytest.approx((1 - 2 * hamming / 16).tolist())
    assert to_binary(torch.zeros(1, 2), torch.full((1, 2), torch.nan))[0].tolist() == [[-1, -1]]


@given(st.lists(st.floats(0, 1), min_size=3, max_size=8), st.floats(0.1, 0.5), st.floats(0, 0.5))
@settings(deadline=None, max_examples=50)
def test_the_knee_does_not_change_with_scale_or_offset(recalls, scale, offset):
    widths = [2**power for power in range(len(recalls))]
    if recalls[-1] > recalls[0] + 0.01:
        distances = sorted(
            (y - recalls[0]) / (recalls[-1] - recalls[0]) - x / (len(recalls) - 1) for x, y in enumerate(recalls)
        )
        if distances[-1] - distances[-2] > 1e-6:
            assert knee(widths, recalls) == knee(widths, [scale * y + offset for y in recalls])


def test_no_knee_without_a_bend():
    assert knee([32, 64, 128, 256, 512], [0.1, 0.2, 0.3, 0.4, 0.5]) is None
    assert knee([32, 64, 128], [0.1, 0.1, 0.5]) is None
    assert knee([32, 64, 128], [0.5, 0.6, 0.5]) is None
    assert knee([32, 64], [0.1, 0.5]) is None
    assert knee([128, 64, 32], [0.5, 0.5, 0.1]) == 64
