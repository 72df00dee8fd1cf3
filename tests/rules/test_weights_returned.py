"""A checkpoint that is loaded again and again, and what sets weights back on purpose."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.rules.gradient_lifecycle import StepsUndone


def adam(model):
    return torch.optim.AdamW(model.parameters(), lr=1e-2)


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)


def plain(model):
    return torch.optim.SGD(model.parameters(), lr=1e-2)


class Run:
    """A classifier of which each epoch may begin with something."""

    def __init__(self, make, epochs=4, steps=10):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
        self.make, self.epochs, self.steps, self.spread = make, epochs, steps, 1.0
        self.first = copy.deepcopy(self.model.state_dict())

    def codes(self, folder, epoch_begins):
        self.optimizer = self.make(self.model)
        with eg.watch(out=folder, every=5, rules=[StepsUndone()]) as watch:
            for epoch in range(self.epochs):
                epoch_begins(self, epoch)
                for _ in range(self.steps):
                    x = self.spread * torch.randn(32, 8)
                    F.cross_entropy(self.model(x), x[:, :4].argmax(1)).backward()
                    self.optimizer.step()
                    self.optimizer.zero_grad()
        return [finding.code for finding in watch.findings]


def loads_again(run, epoch):
    run.model.load_state_dict(run.first)


def begins_a_fold(run, epoch):
    run.model.load_state_dict(run.first)
    run.optimizer = run.make(run.model)


def tries_a_rate(run, epoch):
    begins_a_fold(run, epoch)
    for group in run.optimizer.param_groups:
        group["lr"] *= 3.0**epoch


def serves_a_client(run, epoch):
    """Federated averaging: a new optimizer, and data of its own."""
    begins_a_fold(run, epoch)
    run.spread = (1.0, 0.5, 2.0, 0.7)[epoch]


def found_its_rate(run, epoch):
    if epoch == 1:
        loads_again(run, epoch)


def goes_on(run, epoch):
    pass


def keeps_the_norms(run, epoch):
    for parameter in run.model.parameters():
        parameter.data /= parameter.data.norm()


@pytest.mark.parametrize("make", [adam, sgd])
def test_weights_that_are_loaded_in_each_epoch_are_named(tmp_path, make):
    assert Run(make).codes(tmp_path, loads_again) == ["EG215"]


@pytest.mark.parametrize("make", [adam, sgd])
@pytest.mark.parametrize(
    "begins", [begins_a_fold, tries_a_rate, found_its_rate, keeps_the_norms, lambda run, epoch: None]
)
def test_what_begins_anew_is_silent(tmp_path, make, begins):
    assert Run(make).codes(tmp_path, begins) == []


@pytest.mark.parametrize("make", [adam, sgd, plain])
def test_clients_that_begin_with_the_same_weights_are_silent(tmp_path, make):
    assert Run(make).codes(tmp_path, serves_a_client) == []
