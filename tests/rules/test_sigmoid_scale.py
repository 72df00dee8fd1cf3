"""Sigmoid losses over pairs: a scale that is too small, and how large the loss is."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.rules.loss import TemperatureMissing
from edgeglass_diag.rules.sigmoid_loss import SigmoidAveraged

B = 32


def codes(folder, loss_of, *rules):
    torch.manual_seed(0)
    left, right = (nn.Sequential(nn.Linear(10, 48), nn.GELU(), nn.Linear(48, 24)) for _ in range(2))
    model = nn.ModuleList([left, right])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with eg.watch(model, optimizer, out=folder, every=4, rules=list(rules)) as watch:
        for _ in range(40):
            optimizer.zero_grad()
            x = torch.randn(B, 10)
            a, b = F.normalize(left(x), dim=1), F.normalize(right(x + 0.1 * torch.randn_like(x)), dim=1)
            loss_of(a @ b.T).backward()
            optimizer.step()
    return {finding.code for finding in watch.findings}


def binary(scale, bias):
    return lambda cosines: B * F.binary_cross_entropy_with_logits(scale * cosines + bias, torch.eye(B))


def siglip(scale, bias, share=1 / B):
    signs = 2 * torch.eye(B) - 1
    return lambda cosines: -F.logsigmoid(signs * (scale * cosines + bias)).sum() * share


@pytest.mark.parametrize("loss_of", [binary(1.0, -3.4), siglip(0.1, 0.0)], ids=["targets", "signs, divided by 10"])
def test_a_scale_that_no_bias_makes_up_for_is_named(tmp_path, loss_of):
    assert codes(tmp_path, loss_of, TemperatureMissing()) == {"EG403"}


@pytest.mark.parametrize("loss_of", [binary(8.0, -6.0), siglip(10.0, -10.0)], ids=["targets", "siglip"])
def test_a_usual_scale_is_silent(tmp_path, loss_of):
    assert codes(tmp_path, loss_of, TemperatureMissing()) == set()


@pytest.mark.parametrize(
    ("share", "found"),
    [(1 / B**2, {"EG411"}), (1 / B, set()), (1e-6 / B, set())],
    ids=["averaged over all pairs", "as published", "small for another reason"],
)
def test_an_average_over_pairs_is_told_from_any_small_number(tmp_path, share, found):
    assert codes(tmp_path, siglip(10.0, -10.0, share), SigmoidAveraged()) == found
