import math

import numpy as np
import pytest
import torch

from edgeglass_diag.measures import activations
from edgeglass_diag.measures.activations import activation_statistics, sample_activation
from edgeglass_diag.measures.gradients import row_signals, sample


def reference(values, axis):
    """The same in float64, over all entries, one activation at a time."""
    x = np.asarray(values.double())
    found = {
        "rms": math.sqrt((x**2).mean()),
        "absmax": np.abs(x).max(),
        "zeros": (x == 0).mean(),
        "nonfinite": float((~np.isfinite(x)).sum()),
    }
    if axis is not None:
        found["sample_signal"] = ((x - x.mean(axis, keepdims=True)) ** 2).mean() / (x**2).mean()
    return found


def one(values, axis):
    found = activation_statistics([sample_activation(values, axis)])._asdict()
    return {name: float(value) for name, value in found.items() if value is not None}


@pytest.mark.parametrize(
    ("shape", "axis"), [((6, 5, 4), 0), ((5, 6, 4), 1), ((6,), 0), ((), None), ((3, 4), None), ((2, 3, 4, 4), 0)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_small_activations_are_measured_whole(shape, axis, dtype):
    values = (torch.randn(shape) + 0.5).relu().to(dtype)
    assert one(values, axis) == pytest.approx(reference(values, axis), rel=1e-5, abs=1e-7)


def test_many_at_once_are_what_each_is_alone():
    several = [torch.randn(8, 7, 3) * 10.0**power for power in (-20, 0, 20)] + [torch.zeros(8, 7, 3)]
    together = activation_statistics([sample_activation(values, 0) for values in several])
    for place, values in enumerate(several):
        alone = one(values, 0)
        assert {name: float(vector[place]) for name, vector in together._asdict().items()} == alone
    assert together.sample_signal[3] == 0


def test_what_is_not_finite_is_counted_and_does_not_spoil_its_neighbours():
    values = torch.randn(4, 3, 2)
    broken = values.clone()
    broken[1, 2, 0], broken[2, 0, 1] = math.nan, math.inf
    found = activation_statistics([sample_activation(broken, 0), sample_activation(values, 0)])
    assert found.nonfinite.tolist() == [2, 0]
    assert math.isnan(found.absmax[0])
    assert float(found.rms[1]) == pytest.approx(reference(values, 0)["rms"], rel=1e-5)


def test_a_sample_is_a_copy_and_bounded():
    values = torch.randn(16, 300, 64)
    kept = sample_activation(values, 0)
    before = kept.part.clone()
    values.zero_()
    assert torch.equal(kept.part, before)
    assert kept.part.shape[0] == 16
    assert kept.part.numel() <= 2 * activations.SAMPLED


def test_an_outlying_channel_of_a_large_activation_is_found():
    values = torch.randn(16, 300, 64)
    values[:, :, 7] += 50
    exact = reference(values, 0)
    found = one(values, 0)
    assert found["absmax"] == pytest.approx(exact["absmax"], rel=0.05)
    assert found["rms"] == pytest.approx(exact["rms"], rel=0.02)
    assert found["sample_signal"] == pytest.approx(exact["sample_signal"], rel=0.1)


def test_samples_of_weights_reach_all_rows_and_columns():
    weight = torch.arange(1024.0 * 768).view(1024, 768)
    taken = sample(weight).long()
    assert activations.SAMPLED // 2 < len(taken) <= activations.SAMPLED + 16
    assert len(set((taken // 768).tolist())) > 900
    assert len({column // 16 for column in (taken % 768).tolist()}) == 48


def test_row_signals_of_many_weights():
    alike = torch.randn(1, 200).expand(50, 200)
    wide = torch.randn(1, 4000).expand(300, 4000)
    weights = [torch.randn(50, 200), alike, torch.zeros(5, 3), torch.randn(1, 50, 200), wide, torch.randn(300, 4000)]
    found = row_signals(weights).tolist()
    assert found[0] == pytest.approx(
        float(weights[0].var(0, correction=0).sum() / weights[0].square().sum(1).mean()), rel=0.05
    )
    assert found[1] == pytest.approx(0, abs=1e-12)
    assert math.isnan(found[2])
    assert found[3] > 0.9
    assert found[4] == pytest.approx(0, abs=1e-12)
    assert found[5] > 0.9
