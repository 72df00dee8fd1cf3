"""A gradient that is always zero: dead, or of an output that is cut away."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.rules.zero_gradients import ZeroGradient


class Tokens(nn.Module):
    """A branch beside the tokens, whose output is left out, as FILIP leaves out CLS, or is added to them."""

    def __init__(self, branch, *, cut):
        super().__init__()
        self.image, self.branch, self.head = nn.Linear(6, 8), branch, nn.Linear(8, 4)
        self.cut = cut

    def forward(self, x):
        tokens = self.image(x)
        extra = self.branch(tokens.mean(1, keepdim=True))
        tokens = torch.cat([extra, tokens], 1)[:, 1:] if self.cut else tokens + extra
        return self.head(tokens.mean(1))


def zeros(layer):
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def dead(layer):
    nn.init.constant_(layer.bias, -100.0)
    return layer


BRANCHES = {
    "cut away": (lambda: nn.Linear(8, 8), True, "info"),
    "two that start at zero": (lambda: nn.Sequential(zeros(nn.Linear(8, 8)), zeros(nn.Linear(8, 8))), False, "warning"),
    "dead units": (lambda: nn.Sequential(dead(nn.Linear(8, 8)), nn.ReLU(), nn.Linear(8, 8)), False, "warning"),
    "one that starts at zero": (lambda: zeros(nn.Linear(8, 8)), False, None),
}


@pytest.mark.parametrize("name", BRANCHES)
def test_a_branch_without_gradient(tmp_path, name):
    make, cut, severity = BRANCHES[name]
    torch.manual_seed(0)
    model = Tokens(make(), cut=cut)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with eg.watch(model, optimizer, out=tmp_path / "run", rules=[ZeroGradient()]):
        for _ in range(12):
            x = torch.randn(16, 3, 6)
            F.cross_entropy(model(x), x.mean(1)[:, :4].argmax(1)).backward()
            optimizer.step()
            optimizer.zero_grad()
    with eg.load(tmp_path / "run") as run:
        assert [str(finding.severity) for finding in run.findings] == ([severity] if severity else [])
