"""Which weights are cut off from the loss, and which only run beside it, from trainings through the recorder."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import edgeglass_diag as eg
from edgeglass_diag.records import Severity
from edgeglass_diag.rules.parameter_coverage import GradientCutOff
from edgeglass_diag.watching import Watch


@dataclass
class Output:
    tokens: torch.Tensor
    pooled: torch.Tensor


class Tower(nn.Module):
    """A tower that gives tokens, and what a pooler makes of the first."""

    def __init__(self, carry):
        super().__init__()
        self.body, self.pooler, self.carry = nn.Linear(6, 16), nn.Linear(16, 16), carry

    def forward(self, x):
        tokens = torch.tanh(self.body(x))
        return self.carry(tokens, torch.tanh(self.pooler(tokens[:, 0])))


class Pool(nn.Module):
    """Takes what it needs of the tower's output, and passes all of it on."""

    def __init__(self, take):
        super().__init__()
        self.take, self.proj = take, nn.Linear(16, 8)

    def forward(self, output):
        return functional.normalize(self.proj(self.take(output)), dim=-1)


def detached(output):
    return output["tokens"].mean(1) + output["pooled"].detach()


def without_gradients(output):
    with torch.no_grad():
        pooled = 2 * output["pooled"]
    return output["tokens"].mean(1) + pooled


def chosen(output):
    rows = output["pooled"].argmax(-1)
    return output["tokens"].mean(1) * (1 + functional.one_hot(rows, 16))


def by_numpy(output):
    pooled = np.tanh(output["pooled"].detach().numpy())
    return output["tokens"].mean(1) + torch.from_numpy(pooled)


def by_lists(output):
    return output["tokens"].mean(1) + torch.tensor(output["pooled"].tolist())


def written(output):
    features = torch.zeros(len(output["pooled"]), 16)
    features[:, :8] = output["pooled"].detach()[:, :8]
    return output["tokens"].mean(1) + features


def findings(folder, take, carry=lambda tokens, pooled: {"tokens": tokens, "pooled": pooled}):
    torch.manual_seed(0)
    model = nn.ModuleList([nn.Sequential(Tower(carry), Pool(take)) for _ in range(2)])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    with eg.watch(model, optimizer, out=folder, rules=["EG005", "EG006"]) as watch:
        for _ in range(4):
            x = torch.randn(8, 3, 6)
            left, right = (side(x + 0.1 * torch.randn_like(x)) for side in model)
            functional.cross_entropy(10 * left @ right.T, torch.arange(8)).backward()
            optimizer.step()
            optimizer.zero_grad()
    return {(finding.code, finding.severity, site) for finding in watch.findings for site in finding.sites}


UNUSED = {("EG006", Severity.INFO, f"{side}.0.pooler") for side in (0, 1)}


@pytest.mark.parametrize(
    ("take", "carry"),
    [
        (lambda output: output["tokens"].mean(1), lambda tokens, pooled: {"tokens": tokens, "pooled": pooled}),
        (lambda output: output[0].mean(1), lambda tokens, pooled: (tokens, pooled)),
        (lambda output: output.tokens.mean(1), Output),
    ],
    ids=["dict", "tuple", "object"],
)
def test_a_pooler_that_runs_beside_is_a_fact(tmp_path, take, carry):
    assert findings(tmp_path / "run", take, carry) == UNUSED


@pytest.mark.parametrize("take", [detached, without_gradients, chosen, by_numpy, by_lists, written])
def test_what_is_cut_off_on_its_way_into_the_loss_is_a_fault(tmp_path, take):
    assert findings(tmp_path / "run", take) == {("EG005", Severity.WARNING, f"{side}.0.pooler") for side in (0, 1)}


class Frozen(nn.Module):
    """A tower that runs without gradients, by a decorator, around its call, or detached behind it."""

    def __init__(self, how):
        super().__init__()
        self.body, self.head, self.how = nn.Linear(6, 16), nn.Linear(16, 8), how

    def features(self, x):
        return torch.tanh(self.body(x))

    def forward(self, x):
        if self.how == "detached":
            return self.head(self.features(x).detach())
        with torch.set_grad_enabled(self.how != "switched off"):
            features = self.features(x)
        return self.head(features)


@pytest.mark.parametrize(
    ("how", "loaded", "severity"),
    [("switched off", True, "info"), ("switched off", False, "warning"), ("detached", True, "warning")],
)
def test_a_loaded_tower_under_no_grad_is_frozen_and_not_cut_off(tmp_path, how, loaded, severity):
    torch.save(Frozen(how).state_dict(), tmp_path / "tower.pt")
    with Watch(tmp_path / "run", rules=[GradientCutOff()]) as watch:
        model = Frozen(how)
        if loaded:
            model.load_state_dict(torch.load(tmp_path / "tower.pt"))
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
        for _ in range(4):
            functional.cross_entropy(model(torch.randn(8, 6)), torch.arange(8)).backward()
            optimizer.step()
            optimizer.zero_grad()
    (found,) = watch.findings
    assert (found.site, str(found.severity)) == ("body", severity)
    assert ("gradients are switched off" in found.message) is (how == "switched off")
