"""Biases that are filled with one far value, and those that are so for a reason."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.rules.initial_biases import BiasesFarFromZero

RULES = (BiasesFarFromZero,)


def mlp(activation):
    return nn.Sequential(nn.Linear(8, 32), activation, nn.Linear(32, 32), activation, nn.Linear(32, 4))


def fill(model, value, layers=("0", "2", "4")):
    for name in layers:
        nn.init.constant_(model.get_submodule(name).bias, value)


def far_below(activation):
    def build():
        model = mlp(activation)
        fill(model, -5.0)
        return model

    return build


def normed():
    model = nn.Sequential(nn.Linear(8, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 32), nn.LayerNorm(32),
                          nn.GELU(), nn.Linear(32, 4))  # fmt: skip
    fill(model, -5.0, ("1", "4"))
    return model


def prior_of_the_last_layer():
    model = mlp(nn.ReLU())
    fill(model, -4.6, ("4",))
    return model


def of_zeros():
    model = mlp(nn.GELU())
    fill(model, 0.0)
    return model


def small():
    model = mlp(nn.ReLU())
    fill(model, 0.1)
    return model


def loaded():
    model = mlp(nn.GELU())
    other = mlp(nn.GELU())
    fill(other, -5.0)
    model.load_state_dict(other.state_dict())
    return model


def findings(folder, build, scale=1.0):
    torch.manual_seed(0)
    with eg.watch(out=folder, every=5) as watch:
        model = build()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(12):
            x = scale * torch.randn(32, 8)
            optimizer.zero_grad()
            F.cross_entropy(model(x), x[:, :4].argmax(1)).backward()
            optimizer.step()
    return [finding for finding in watch.findings if finding.code == "EG017"]


@pytest.mark.parametrize(
    "build", [far_below(nn.GELU()), far_below(nn.Tanh()), far_below(nn.ReLU()), normed],
    ids=["gelu", "tanh", "relu", "normed"],
)  # fmt: skip
def test_biases_far_from_zero_are_told_with_the_line_that_fills_them(tmp_path, build):
    [finding] = findings(tmp_path, build)
    assert finding.severity is eg.Severity.WARNING
    assert finding.place is not None
    assert finding.place.file == __file__
    assert "at magnitude 5" in finding.message


@pytest.mark.parametrize("build", [prior_of_the_last_layer, of_zeros, small, loaded], ids=lambda build: build.__name__)
def test_usual_biases_are_not(tmp_path, build):
    assert findings(tmp_path, build) == []


def test_what_is_far_for_small_inputs_is_not_for_large_ones(tmp_path):
    def build():
        model = nn.Sequential(nn.Linear(8, 32), nn.Linear(32, 4))
        fill(model, 0.5, ("0", "1"))
        return model

    assert findings(tmp_path, build, scale=10.0) == []
