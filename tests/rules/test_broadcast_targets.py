"""Outputs that meet the targets of all samples, and differences of all pairs that are meant."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.rules.targets import TargetsBroadcast

RULES = (TargetsBroadcast,)
B, WIDTH = 16, 6


class Scores(nn.Module):
    """Gives a mapping, as models of other libraries do."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(WIDTH, 8), nn.Linear(8, 1)

    def forward(self, x):
        return {"scores": self.head(self.body(x).relu())}


def codes(folder, loss_of):
    torch.manual_seed(0)
    model = Scores()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with eg.watch(model, optimizer, out=folder, rules=[TargetsBroadcast()]):
        for _ in range(5):
            x = torch.randn(B, WIDTH)
            optimizer.zero_grad()
            loss_of(model(x)["scores"], x.sum(1)).backward()
            optimizer.step()
    return {finding.code for finding in eg.load(folder).findings}


ILL = {
    "squared": lambda y, t: ((y - t) ** 2).mean(),
    "target first": lambda y, t: (t - y).abs().mean(),
    "target of a column": lambda y, t: (y.squeeze(-1) - t[:, None]).square().mean(),
}
HEALTHY = {
    "squeezed": lambda y, t: ((y.squeeze(-1) - t) ** 2).mean(),
    "column": lambda y, t: F.l1_loss(y, t[:, None]),
    "ranking": lambda y, t: F.softplus((y - y.T) * (t - t[:, None]).sign()).mean(),
    "ranking of rows": lambda y, t: F.softplus(-(y - y[:, 0]) * (t[:, None] - t).sign()).mean(),
    "baseline": lambda y, t: ((y - t.mean()) ** 2).mean(),
    "advantage": lambda y, t: (y[:, 0] * (t - y[:, 0].detach())).mean(),
}


@pytest.mark.parametrize("loss", ILL)
def test_outputs_that_meet_the_targets_of_all_are_named(tmp_path, loss):
    assert codes(tmp_path, ILL[loss]) == {"EG420"}


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_torchs_own_losses_are_told_as_well(tmp_path):
    assert codes(tmp_path, F.smooth_l1_loss) == {"EG420"}


@pytest.mark.parametrize("loss", HEALTHY)
def test_what_is_meant_is_silent(tmp_path, loss):
    assert codes(tmp_path, HEALTHY[loss]) == set()


def test_centres_that_a_module_holds_are_no_targets(tmp_path):
    class Radial(nn.Module):
        """As many centres as a batch has samples."""

        def __init__(self):
            super().__init__()
            self.inp, self.out = nn.Linear(WIDTH, 1), nn.Linear(B, 1)
            self.register_buffer("centres", torch.linspace(-1, 1, B))

        def forward(self, x):
            return self.out(torch.exp(-(self.inp(x) - self.centres).square()))

    torch.manual_seed(0)
    model = Radial()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with eg.watch(model, optimizer, out=tmp_path / "run", rules=[TargetsBroadcast()]):
        for _ in range(5):
            loss = F.mse_loss(model(torch.randn(B, WIDTH)), torch.randn(B, 1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with eg.load(tmp_path / "run") as run:
        assert run.findings == []
