"""Steps that make weights NaN although gradients are finite, and an eps that float16 does not hold."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.rules.broken_steps import EpsLost, StepBreaksWeights
from edgeglass_diag.rules.numerics import NonFinite

RULES = (StepBreaksWeights, EpsLost)


def findings(folder, *, dtype=torch.float16, optimizer=torch.optim.Adam, loss_of=F.cross_entropy, steps=4, **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 8)).to(dtype)
    stepping = optimizer(model.parameters(), lr=1e-3, **options)
    rules = [StepBreaksWeights(), EpsLost(), NonFinite()]
    with eg.watch(model, stepping, out=folder, rules=rules):
        for _ in range(steps):
            x = torch.randn(32, 16, dtype=dtype)
            loss_of(model(x), x[:, :8].argmax(1)).backward()
            stepping.step()
            stepping.zero_grad()
    with eg.load(folder) as run:
        return {finding.code: finding for finding in run.findings}


def test_the_optimizer_and_its_eps_are_blamed_and_no_logarithm(tmp_path):
    found = findings(tmp_path / "run")
    assert "eps of 1e-08 is 0 in float16" in found["EG807"].message
    assert found["EG801"].because_of == "EG807"
    assert "log" not in found["EG801"].fix.split()
    assert "EG808" not in found


@pytest.mark.parametrize("options", [{"eps": 1e-4}, {"dtype": torch.float32}, {"optimizer": torch.optim.SGD}])
def test_an_optimizer_whose_numbers_are_large_enough(tmp_path, options):
    assert findings(tmp_path / "run", **options) == {}


def test_an_eps_that_is_lost_is_said_before_it_breaks_anything(tmp_path):
    def large(logits, target):
        return 1000 * F.cross_entropy(logits + logits.square(), target) + logits.float().sum().half()

    class Adam(torch.optim.Adam):
        """Its entries without gradient are held still, so that 0 / 0 does not come."""

        def step(self):
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.grad[parameter.grad.abs() < 0.1] = 0.1
            super().step()

    found = findings(tmp_path / "run", loss_of=large, optimizer=Adam, steps=2)
    assert {code: str(finding.severity) for code, finding in found.items()} == {"EG808": "warning"}


def test_a_rate_that_overflows_breaks_the_weights_as_well(tmp_path):
    class Wild(torch.optim.SGD):
        def step(self):
            with torch.no_grad():
                for group in self.param_groups:
                    for parameter in group["params"]:
                        parameter *= torch.inf

    wild = findings(tmp_path / "run", dtype=torch.float32, optimizer=Wild)
    assert wild["EG807"].step == 0
    assert "learning rate" in wild["EG807"].fix


def test_nan_before_the_first_step_is_no_matter_of_the_rate(tmp_path):
    def logarithm(logits, target):
        return F.nll_loss((logits - 100).clamp(min=0).log() * 0, target)

    found = findings(tmp_path / "run", dtype=torch.float32, loss_of=logarithm)
    assert found.keys() == {"EG801"}
