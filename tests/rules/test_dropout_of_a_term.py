"""Dropout that keeps one term of a loss from learning beside another that learns."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.rules.dropout import DropoutTooHigh


class TwoHeads(nn.Module):
    """A head that counts on single inputs, and one that must see them all: which of two halves has the larger sum."""

    def __init__(self, p):
        super().__init__()
        self.easy = nn.Linear(24, 4)
        self.hard = nn.Sequential(nn.Dropout(p), nn.Linear(24, 48), nn.ReLU(), nn.Dropout(p), nn.Linear(48, 2))

    def forward(self, x):
        return self.easy(x), self.hard(x)


def codes(folder, p, *, noise):
    torch.manual_seed(0)
    model = TwoHeads(p)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with eg.watch(model, optimizer, out=folder, every=4, rules=[DropoutTooHigh()]) as watch:
        for _ in range(80):
            optimizer.zero_grad()
            x = torch.randn(64, 24)
            easy, hard = model(x)
            halves = (x[:, :12].sum(1) > x[:, 12:].sum(1)).long()
            labels = torch.randint(0, 2, (64,)) if noise else halves
            (F.cross_entropy(easy, x[:, :4].argmax(1)) + F.cross_entropy(hard, labels)).backward()
            optimizer.step()
    return {finding.code for finding in watch.findings}


@pytest.mark.parametrize(
    ("p", "noise", "found"),
    [(0.95, False, {"EG216"}), (0.6, False, set()), (0.1, True, set())],
    ids=["a term that stays at chance", "a term that learns", "another reason"],
)
def test_a_term_is_judged_by_its_own_level(tmp_path, p, noise, found):
    assert codes(tmp_path, p, noise=noise) == found
