"""Geometry against slow references, invariants, and embeddings of a real CLIP."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeglass_diag.measures.geometry import (
    alignment,
    between_sample_variance_ratio,
    effective_num_rows,
    effective_rank,
    mean_cosine,
    modality_gap,
    uniformity,
)

matrices = st.tuples(st.integers(0, 9999), st.integers(2, 12), st.integers(1, 12)).map(
    lambda t: torch.randn(t[1], t[2], generator=torch.Generator().manual_seed(t[0])) + 0.5
)


@given(matrices)
@settings(deadline=None, max_examples=40)
def test_effective_rank_equals_the_svd_and_stays_in_bounds(values):
    singular = np.linalg.svd(values.double().numpy(), compute_uv=False)
    share = singular / singular.sum()
    expected = math.exp(-sum(p * math.log(p) for p in share if p > 0))
    got = float(effective_rank(values))
    assert got == pytest.approx(expected, rel=1e-4)
    assert 1 - 1e-9 <= got <= min(values.shape) + 1e-6


@given(matrices, st.floats(0.1, 10))
@settings(deadline=None, max_examples=40)
def test_scale_rotation_and_order_change_nothing(values, factor):
    rotation = torch.linalg.qr(
        torch.randn(values.shape[1], values.shape[1], generator=torch.Generator().manual_seed(1))
    )[0]
    other = factor * values.flip(0) @ rotation
    for measure in (effective_rank, between_sample_variance_ratio, mean_cosine, uniformity, effective_num_rows):
        assert float(measure(other)) == pytest.approx(float(measure(values)), rel=1e-3, abs=1e-5)


def test_sample_signal_of_constant_varied_and_zero_outputs():
    assert float(between_sample_variance_ratio(torch.ones(8, 3, 4))) == 0
    assert float(between_sample_variance_ratio(torch.zeros(8, 3))) == 0
    centred = torch.randn(8, 5)
    assert float(between_sample_variance_ratio(centred - centred.mean(0))) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="needs at least 2 samples along dim 0"):
        between_sample_variance_ratio(torch.ones(1, 3))


def test_sample_signal_survives_a_large_common_part_in_float32():
    noise = torch.randn(64, 100, generator=torch.Generator().manual_seed(0))
    values = 1000 + 0.01 * noise
    expected = (values.double() - values.double().mean(0)).square().mean() / values.double().square().mean()
    assert float(between_sample_variance_ratio(values)) == pytest.approx(float(expected), rel=1e-2)


def test_distinct_rows_counts_directions():
    assert float(effective_num_rows(torch.ones(6, 3))) == pytest.approx(1.0)
    assert float(effective_num_rows(torch.eye(6))) == pytest.approx(6.0)
    assert effective_num_rows(torch.randn(2, 4, 6, 3)).shape == (2, 4)


def test_alignment_gap_and_uniformity_of_known_places():
    east, north = torch.tensor([[1.0, 0.0]] * 3), torch.tensor([[0.0, 2.0]] * 3)
    assert float(alignment(east, north)) == pytest.approx(2.0)
    assert float(modality_gap(east, north)) == pytest.approx(math.sqrt(2))
    assert float(uniformity(east)) == pytest.approx(0.0)


def test_a_nan_embedding_has_a_nan_rank_and_does_not_raise():
    values = torch.ones(4, 3)
    values[0, 0] = float("nan")
    assert math.isnan(float(effective_rank(values)))


def test_distinct_rows_of_a_sample_speak_for_all():
    torch.manual_seed(0)
    values = torch.randn(3, 256, 32) + 1.0
    whole = effective_num_rows(values)
    torch.testing.assert_close(effective_num_rows(values, population=256), whole)
    torch.testing.assert_close(effective_num_rows(values[:, ::4], population=256), whole, rtol=0.1, atol=0)
    assert float(effective_num_rows(torch.ones(8, 4), population=256)) == pytest.approx(1.0, abs=1e-3)
    assert float(effective_num_rows(torch.eye(8), population=256)) == pytest.approx(256.0)
