"""Dropout that is on where it may not belong: what is recorded beside it tells what it is."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from edgeglass_diag.record import Recorder

X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


class Tower(nn.Module):
    """A layer and its dropout."""

    def __init__(self):
        super().__init__()
        self.layer, self.drop = nn.Linear(4, 4), nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.layer(x))


def noise(step, *, steps=2):
    """Readings of ``noise/*`` by window, and labels of what was seen, over a training of ``step(model)``."""
    windows, model = [], Tower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(lambda step: True, lambda pending: windows.append(pending.resolve())):
        for _ in range(steps):
            step(model).sum().backward()
            optimizer.step()
    labels = {s.label for w in windows for s in w.sites if s.kind == "noise"}
    return [[r.values[0] for r in w.readings if r.signal.startswith("noise/")] for w in windows], labels


def cached(model):
    with torch.no_grad():
        model(X)
    return torch.cat([model(half) for half in X.split(4)])


def evaluated(model):
    with torch.no_grad():
        model(X + 1)
    return model(X)


@pytest.mark.parametrize(("step", "share"), [(cached, 0.0), (evaluated, 1.0)])
def test_samples_that_come_again_with_gradients_are_told_from_an_evaluation(step, share):
    assert noise(step) == ([[share], [share]], {"without gradients"})


def test_a_reentrant_checkpoint_is_no_evaluation():
    given = X.clone().requires_grad_()
    assert noise(lambda model: checkpoint(model, given, use_reentrant=True)) == ([[], []], set())


@pytest.mark.parametrize("moves", [True, False])
def test_weights_of_a_frozen_module_tell_a_momentum_teacher(moves):
    teacher = copy.deepcopy(Tower()).requires_grad_(False)

    def step(model):
        with torch.no_grad():
            teacher(X)
            if moves:
                teacher.layer.weight.lerp_(model.layer.weight, 0.1)
        return model(X)

    (first, second), labels = noise(step)
    assert labels == {"although all its weights are frozen"}
    assert (first != second) == moves
