"""Dropout that is on where it may not belong: what is recorded beside it tells what it is."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from edgeglass_diag.record import Recorder
from edgeglass_diag.sites import DropoutPlace

X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


class Tower(nn.Module):
    """A layer and its dropout."""

    def __init__(self, drop=None):
        super().__init__()
        self.layer, self.drop = nn.Linear(4, 4), drop or nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.layer(x))


class InFunction(nn.Module):
    """Dropout whose flag was forgotten: on in evaluation mode, too."""

    def forward(self, x):
        return functional.dropout(x, 0.5)


class InTorch(nn.Module):
    """The operator itself, which has no default."""

    def forward(self, x):
        return torch.dropout(x, 0.5, True)


class InAttention(nn.Module):
    """As easily forgotten: the fused attention knows no mode."""

    def forward(self, x):
        return functional.scaled_dot_product_attention(x[None], x[None], x[None], dropout_p=0.5)[0]


def noise(step, model=None, *, steps=2):
    """Readings of ``noise/*`` by window, and places of what was seen, over a training of ``step(model)``."""
    windows, model = [], model or Tower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(lambda step: True, lambda pending: windows.append(pending.resolve())):
        for _ in range(steps):
            step(model).sum().backward()
            optimizer.step()
    places = {s.place for w in windows for s in w.sites if s.kind == "noise"}
    return [[r.values[0] for r in w.readings if r.signal.startswith("noise/")] for w in windows], places


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
    assert noise(step) == ([[share], [share]], {DropoutPlace.EVALUATION})


def evaluated_in_its_mode(model):
    model.eval()
    with torch.no_grad():
        model(X + 1)
    return model.train()(X)


@pytest.mark.parametrize(("drop", "found"), [
    (nn.Dropout(0.5), False), (nn.AlphaDropout(0.5), False), (InFunction(), True), (InTorch(), True),
    (InAttention(), True),
])  # fmt: skip
def test_dropout_that_does_not_heed_the_mode_is_seen_in_an_evaluation(drop, found):
    readings, places = noise(evaluated_in_its_mode, Tower(drop))
    assert places == ({DropoutPlace.EVALUATION} if found else set())
    assert readings == ([[1.0], [1.0]] if found else [[], []])


@pytest.mark.parametrize("drop", [nn.Dropout1d(0.5), nn.FeatureAlphaDropout(0.5), InFunction(), InAttention()])
def test_any_dropout_of_an_evaluation_in_training_mode_is_seen(drop):
    assert noise(evaluated, Tower(drop)) == ([[1.0], [1.0]], {DropoutPlace.EVALUATION})


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

    (first, second), places = noise(step)
    assert places == {DropoutPlace.FROZEN_ENCODER}
    assert (first != second) == moves


class Encoder(nn.Module):
    """Two frozen layers with dropout, a table of words, and what is trained within and behind."""

    def __init__(self, *trained):
        super().__init__()
        self.table, self.layers, self.head = nn.Embedding(100, 4), nn.Sequential(Tower(), Tower()), nn.Linear(4, 4)
        for part in (self.table, self.layers):
            part.requires_grad_(False)
        for name in trained:
            self.get_submodule(name).requires_grad_(True)

    def forward(self, words):
        return self.head(self.layers(self.table(words)))


class Around(nn.Module):
    """A model around towers, or around another model."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, given):
        return sum(part(given) for part in self.children())


class Looked(nn.Module):
    """A frozen table with its own dropout, before what is trained."""

    def __init__(self):
        super().__init__()
        table = nn.Sequential(nn.Embedding(100, 4), nn.LayerNorm(4), nn.Dropout(0.5))
        self.words, self.head = table.requires_grad_(False), nn.Linear(4, 4)

    def forward(self, given):
        return self.head(self.words(given))


@pytest.mark.parametrize(("model", "found"), [
    (Encoder(), {"layers"}),
    (Around(text=Encoder()), {"text.layers"}),
    (Around(model=Around(text=Encoder(), other=Encoder("table", "layers"))), {"model.text.layers"}),
    (Encoder("layers.1.layer"), set()),
    (Around(text=Encoder("layers.1.layer")), set()),
    (Encoder("table"), set()),
    (Looked(), set()),
])  # fmt: skip
def test_a_frozen_encoder_is_told_from_frozen_layers_of_one_that_is_trained(model, found):
    windows, optimizer = [], torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    with Recorder(lambda step: True, lambda pending: windows.append(pending.resolve())):
        model(torch.arange(8)).sum().backward()
        optimizer.step()
    assert {s.path for w in windows for s in w.sites if s.kind == "noise"} == found


def test_a_transform_that_is_random_is_no_evaluation():
    def step(model):
        with torch.no_grad():
            noisy = nn.Sequential(nn.Dropout(0.1), InFunction())(X)
        return model(noisy)

    assert noise(step) == ([[], []], set())
