"""Gradients that drown in Adam's eps, and small ones that do not."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.records import Severity
from edgeglass_diag.rules.adam_eps import GradientsBelowEps

RULES = (GradientsBelowEps,)


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=2e-3)


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def damped(model):
    """An eps that is chosen, with a rate to go with it."""
    return torch.optim.Adam(model.parameters(), lr=1.0, eps=0.1)


def damped_alone(model):
    return torch.optim.Adam(model.parameters(), lr=1e-5, eps=0.1)


def findings(folder, make, loss_of, steps=40):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))
    optimizer = make(model)
    with eg.watch(model, optimizer, out=folder, every=4, rules=[GradientsBelowEps()]) as watch:
        for step in range(steps):
            optimizer.zero_grad()
            x = torch.randn(48, 16)
            loss_of(model(x), x[:, :5].argmax(1), step).backward()
            optimizer.step()
    return {finding.code: finding.severity for finding in watch.findings}


def scaled(factor):
    return lambda logits, labels, step: factor * F.cross_entropy(logits, labels)


def squared(logits, labels, step):
    """A hand-written loss, divided by the rows and classes once too often, and then by a sum that is far too large."""
    return (logits - F.one_hot(labels, 5)).pow(2).mean() / 5e6


def learned_first(logits, labels, step):
    """Its gradients become small when it is nearly done."""
    return (logits.pow(2).mean() + 1) * 0.9**step * (1e-9 if step > 20 else 1)


@pytest.mark.parametrize(
    ("make", "loss_of"),
    [(adam, scaled(1e-7)), (adam, squared), (damped_alone, scaled(1.0))],
    ids=["a small factor", "divided by too much", "eps of 0.1"],
)
def test_gradients_below_eps_are_named(tmp_path, make, loss_of):
    assert findings(tmp_path, make, loss_of) == {"EG228": Severity.WARNING}


@pytest.mark.parametrize(
    ("make", "loss_of"),
    [(adam, scaled(1.0)), (adam, scaled(1e-3)), (adam, learned_first), (sgd, scaled(1e-7)), (damped, scaled(1.0))],
    ids=["usual", "small, and above eps", "after it has learned", "no second moment", "eps and rate chosen together"],
)
def test_small_gradients_that_do_no_harm_are_silent(tmp_path, make, loss_of):
    assert findings(tmp_path, make, loss_of) == {}
