"""Weights that are normalised after each step: as a whole, by rows, or some of them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.rules.pinned_weights import WeightsPinned

RULES = (WeightsPinned,)


def whole(model):
    for weight in model.parameters():
        if weight.ndim > 1:
            weight.data /= weight.data.norm()


def rows(model):
    for weight in model.parameters():
        if weight.ndim > 1:
            weight.data /= weight.data.norm(dim=1, keepdim=True)


def prototypes(model):
    weight = model[-1].weight
    weight.data /= weight.data.norm()


def clipped(model):
    for weight in model.parameters():
        weight.data.clamp_(-0.01, 0.01)


def not_at_all(model):
    del model


def findings(folder, after_step, lr=1e-2):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    with eg.watch(out=folder, every=2) as watch:
        for _ in range(40):
            x = torch.randn(32, 16)
            optimizer.zero_grad()
            F.cross_entropy(model(x), torch.randint(0, 4, (32,))).backward()
            optimizer.step()
            after_step(model)
    return [finding for finding in watch.findings if finding.code == "EG229"]


def test_matrices_that_are_normalised_as_a_whole_are_told_once(tmp_path):
    [finding] = findings(tmp_path, whole)
    assert finding.severity is eg.Severity.WARNING
    assert finding.site == "0.weight"
    assert "0.weight and 2 more have the same norm" in finding.message or "2.weight" in finding.message


@pytest.mark.parametrize("after_step", [rows, prototypes, clipped, not_at_all], ids=lambda one: one.__name__)
def test_constraints_of_each_unit_and_of_one_layer_are_not(tmp_path, after_step):
    assert findings(tmp_path, after_step) == []


def test_weights_that_hardly_move_are_not(tmp_path):
    assert findings(tmp_path, not_at_all, lr=1e-7) == []
