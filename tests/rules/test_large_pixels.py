"""Pixels of 0 to 255: a fault, unless BatchNorm takes their factor out again."""

import pytest
import torch
from torch import nn

import edgeglass_diag as eg
from edgeglass_diag.rules.inputs import ImageRange

RULES = (ImageRange,)


class Beside(nn.Module):
    """Hands what the first layer gives out on, next to what BatchNorm makes of it."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.skip = nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)

    def forward(self, pixels):
        seen = self.conv(pixels)
        return self.norm(seen) + self.skip(seen)


def first(*layers):
    return nn.Sequential(nn.Conv2d(3, 8, 4, 4), *layers)


def trained(folder, body, factor, *, evaluated=False):
    torch.manual_seed(0)
    model = nn.Sequential(body(), nn.ReLU(), nn.Flatten(), nn.Linear(32, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    model.train(not evaluated)
    losses = []
    with eg.watch(model, optimizer, out=folder, every=1, rules=[rule() for rule in RULES]):
        for step in range(6):
            pixels = factor * torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(step))
            loss = nn.functional.cross_entropy(model(pixels), torch.arange(16) % 4)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    with eg.load(folder) as run:
        return losses, [(finding.code, str(finding.severity)) for finding in run.findings]


def normalised():
    return first(nn.BatchNorm2d(8))


def test_batchnorm_behind_the_first_layer_makes_them_a_fact(tmp_path):
    usual, silent = trained(tmp_path / "usual", normalised, 1)
    large, told = trained(tmp_path / "large", normalised, 255)
    assert (silent, told) == ([], [("EG504", "info")])
    assert large == pytest.approx(usual, abs=1e-3)


@pytest.mark.parametrize("body", [first, lambda: first(nn.LeakyReLU()), Beside], ids=["plain", "activation", "beside"])
def test_they_are_a_fault_where_the_factor_goes_on(tmp_path, body):
    assert trained(tmp_path, body, 255)[1] == [("EG504", "warning")]


def test_they_are_a_fault_where_batchnorm_takes_the_statistics_of_others(tmp_path):
    assert trained(tmp_path, normalised, 255, evaluated=True)[1] == [("EG504", "warning")]
