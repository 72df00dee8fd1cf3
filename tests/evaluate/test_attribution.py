"""Attribution against closed forms, and what the information test says of models whose sight is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import edgeglass_diag as eg
from edgeglass_diag.evaluation.information import ablate_units, information_test
from edgeglass_diag.figures.attribution import overlay, strip


def dot(left, right):
    return (left * right).sum(-1)


def linear(count=5, units=4, features=3, width=6):
    torch.manual_seed(0)
    inputs, baseline = torch.randn(count, units, features), torch.randn(1, units, features)
    weight, other = torch.randn(units, features, width), torch.randn(count, width)
    return inputs, baseline, weight, other, lambda x: torch.einsum("nuf,ufw->nw", x, weight)


def test_of_a_linear_model_both_are_weight_times_difference():
    inputs, baseline, weight, other, encode = linear()
    found = eg.attribute(encode, inputs, other, baseline=baseline, compare=dot, steps=3)
    expected = torch.einsum("nuf,ufw,nw->nu", inputs - baseline, weight, other)
    torch.testing.assert_close(found.integrated_gradients, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.ablation, expected, atol=1e-4, rtol=1e-4)
    assert float(found.error.max()) < 1e-4


def test_units_gather_their_entries_and_each_sample_may_have_its_own():
    inputs, baseline, weight, other, encode = linear()
    units = torch.stack([torch.tensor([0, 1, 1, 2]), torch.tensor([2, 2, 0, 1]), *[torch.tensor([0, 0, 0, 0])] * 3])
    found = eg.attribute(encode, inputs, other, baseline=baseline, compare=dot, units=units[..., None], steps=3)
    single = torch.einsum("nuf,ufw,nw->nu", inputs - baseline, weight, other)
    expected = torch.zeros(5, 3).scatter_add_(1, units, single)
    torch.testing.assert_close(found.integrated_gradients, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.ablation, expected, atol=1e-4, rtol=1e-4)


def curved(x, shift=None):
    return torch.tanh(x if shift is None else x + shift[:, None, None]).prod(1) + x.sum(1)


def test_a_row_sums_to_the_difference_of_the_cosines_and_more_steps_come_closer():
    torch.manual_seed(1)
    inputs, other = 2 * torch.randn(6, 5, 8), torch.randn(6, 8)
    coarse, fine = (eg.attribute(curved, inputs, other, steps=steps) for steps in (2, 128))
    assert float(fine.error.max()) < 1e-4 < float(coarse.error.max())
    difference = fine.similarity - fine.reference
    torch.testing.assert_close(fine.integrated_gradients.sum(1), difference, atol=1e-4, rtol=0)
    assert float(difference.abs().min()) > 0.01


def test_permuted_units_and_samples_have_permuted_attributions():
    torch.manual_seed(2)
    inputs, other, shift = torch.randn(4, 5, 8), torch.randn(4, 8), torch.randn(4)
    plain = eg.attribute(curved, inputs, other, extra=(shift,))
    units, rows = torch.tensor([3, 1, 4, 0, 2]), torch.tensor([2, 0, 3, 1])
    moved = eg.attribute(curved, inputs[rows][:, units], other[rows], extra=(shift[rows],), rows=3)
    for name in ("integrated_gradients", "ablation"):
        torch.testing.assert_close(getattr(moved, name), getattr(plain, name)[rows][:, units], atol=1e-5, rtol=1e-4)


def test_mismatching_arguments_raise():
    inputs, _, _, other, encode = linear()
    for change, message in (
        ({"inputs": inputs.long()}, r"inputs: expected floats of shape \(N, U, ...\), got int64 of shape \(5, 4, 3\)"),
        ({"baseline": inputs[:2]}, r"baseline: expected the shape \(5, 4, 3\) or one row, got \(2, 4, 3\)"),
        ({"units": torch.zeros(7, 7, dtype=torch.long)}, r"units: expected a shape that broadcasts"),
        ({"units": torch.zeros(1)}, "units: expected integers from 0"),
        ({"other": other[:3]}, r"other: expected \(N, D\) with N = 5, got \(3, 6\)"),
    ):
        given = {"inputs": inputs, "other": other, **change}
        with pytest.raises(ValueError, match=message):
            eg.attribute(encode, given.pop("inputs"), given.pop("other"), **given)


def test_the_information_test_knows_who_sees():
    torch.manual_seed(3)
    text = torch.randn(120, 16)
    inputs = torch.stack([text, torch.randn(120, 16)], 1)  # unit 0 determines the pair, unit 1 is noise

    def encode(x):
        return x[:, 0] + 0.1 * x[:, 1]

    units = torch.arange(2)[None, :, None]
    gone = {str(k): ablate_units(encode, inputs, units, torch.tensor([k]), rows=50) for k in (0, 1)}
    sees = information_test(encode(inputs), text, {**gone, "all": ablate_units(encode, inputs, units)})
    assert sees["informed"]
    assert sees["pairs"]["information"] == pytest.approx(1, abs=0.01)
    assert sees["pairs"]["R@1"] > 0.95
    assert sees["0"]["share"] == pytest.approx(1, abs=0.15)
    assert sees["1"]["share"] == pytest.approx(0, abs=0.01)
    assert sees["all"]["information"] == pytest.approx(0, abs=1e-6)
    assert sees["all"]["R@1"] == pytest.approx(1 / 120)
    low, high = sees["shuffled"]["ci95"]["information"]
    assert low < 0 < high
    blind = information_test(torch.ones(120, 16), text)
    assert not blind["informed"]
    assert blind["pairs"]["information"] == pytest.approx(0, abs=1e-6)
    assert blind["pairs"]["share"] is None


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.filterwarnings("error")
def test_the_heatmap_of_numbers_that_are_none_keeps_the_colours_of_the_others(odd):
    picture = np.full((4, 4, 3), 200, np.uint8)
    drawn = overlay(picture, np.array([[odd, 1.0], [0.0, -1.0]]), size=4)
    usual = overlay(picture, np.array([[0.0 if np.isnan(odd) else np.sign(odd), 1.0], [0.0, -1.0]]), size=4)
    assert (drawn == usual).all()


def test_the_heatmap_has_its_colours_where_the_values_are():
    picture = np.full((8, 8, 3), 200, dtype=np.uint8)
    values = np.zeros((2, 2))
    values[0, 1], values[1, 0] = 1, -1
    drawn = overlay(picture, values, size=64).astype(int)
    assert drawn.shape == (64, 64, 3)
    assert drawn[10, 50, 0] > drawn[10, 50, 2] + 50  # for: vermilion
    assert drawn[50, 10, 2] > drawn[50, 10, 0] + 50  # against: blue
    assert len(set(drawn[10, 10])) == 1  # nothing: grey
    assert strip(picture, [values, values], size=64).shape == (64, 3 * 64 + 2 * 8, 3)
    with pytest.raises(ValueError, match=r"got \(8, 8, 3\) and \(4,\)"):
        overlay(picture, np.zeros(4))
