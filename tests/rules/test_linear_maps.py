"""Linear layers behind one another, and initial values of a wrong size, each beside what resembles it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.rules.dropout import DropoutTooHigh
from edgeglass_diag.rules.initial_scale import (
    DeadFromTheStart,
    FirstLossFarAboveChance,
    InitialWeightsTooLarge,
    TwoZeroLayers,
)
from edgeglass_diag.rules.linear_maps import NoActivationBetween
from edgeglass_diag.sites import Coverage

RULES = (
    NoActivationBetween, InitialWeightsTooLarge, TwoZeroLayers, DeadFromTheStart, FirstLossFarAboveChance,
)  # fmt: skip


def findings(folder, make, *, rules=RULES, size=(8, 16), steps=12, loss=None):
    """Return severity and site of each finding by code, of a model that is built and trained under watch."""
    torch.manual_seed(0)
    with eg.watch(nn.Identity(), out=folder, rules=[rule() for rule in rules]):
        model = make()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        for _ in range(steps):
            out = model(torch.randn(size))
            (out.square().mean() if loss is None else loss(out)).backward()
            optimizer.step()
            optimizer.zero_grad()
    with eg.load(folder) as run:
        assert not [site for site in run.sites if site.coverage is Coverage.RECORDER_FAILED]
        return {finding.code: (str(finding.severity), finding.site) for finding in run.findings}


class Branch(nn.Module):
    """The width between goes elsewhere too."""

    def __init__(self, other):
        super().__init__()
        self.first, self.second, self.other = nn.Linear(16, 32), nn.Linear(32, 16), other

    def forward(self, x):
        hidden = self.first(x)
        return self.second(hidden) + self.other(hidden).mean()


def grouped():
    return nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 1), nn.Flatten())


def patches():
    return nn.Sequential(nn.Conv2d(4, 8, 2, stride=2), nn.Conv2d(8, 8, 1), nn.Flatten())


def convolutions(activation):
    layers = (nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), activation, nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), activation)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 16, 4))


IN_A_ROW = {
    "MLP": (lambda: nn.Sequential(nn.Linear(16, 64), nn.Dropout(0.1), nn.Linear(64, 16)), (8, 16), "warning"),
    "MLP with GELU": (lambda: nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 16)), (8, 16), None),
    "in place": (lambda: nn.Sequential(nn.Linear(16, 64), nn.ReLU(inplace=True), nn.Linear(64, 16)), (8, 16), None),
    "LoRA": (lambda: nn.Sequential(nn.Linear(16, 4, bias=False), nn.Linear(4, 16, bias=False)), (8, 16), None),
    "encoder and projection": (
        lambda: nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16), nn.Linear(16, 4)), (8, 16), "info",
    ),
    "head": (
        lambda: nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 8), nn.Identity(), nn.Linear(8, 1)), (8, 16),
        "warning",
    ),
    "LayerNorm": (lambda: nn.Sequential(nn.Linear(16, 64), nn.LayerNorm(64), nn.Linear(64, 16)), (8, 16), None),
    "taken twice": (lambda: Branch(nn.Tanh()), (8, 16), None),
    "depthwise": (grouped, (8, 4, 8, 8), None),
    "patches": (patches, (8, 4, 8, 8), None),
    "convolutions": (lambda: convolutions(nn.Identity()), (8, 4, 8, 8), "warning"),
    "convolutions with ReLU": (lambda: convolutions(nn.ReLU(inplace=True)), (8, 4, 8, 8), None),
    "transformer": (lambda: nn.TransformerEncoderLayer(16, 2, 64, batch_first=True), (8, 5, 16), None),
}  # fmt: skip


@pytest.mark.parametrize("name", IN_A_ROW)
def test_linear_maps_in_a_row(tmp_path, name):
    make, size, severity = IN_A_ROW[name]
    found = findings(tmp_path / "run", make, size=size, steps=3)
    assert {code: level for code, (level, _) in found.items()} == ({"EG012": severity} if severity else {})


def net(change, *, bias=True):
    """Return a small classifier whose layers ``change`` has had."""
    model = nn.Sequential(
        nn.Linear(16, 32, bias=bias), nn.ReLU(), nn.Linear(32, 32, bias=bias), nn.ReLU(), nn.Linear(32, 10, bias=bias)
    )
    with torch.no_grad():
        change(model)
    return model


def times(factor):
    return lambda model: [layer.weight.mul_(factor) for layer in model if isinstance(layer, nn.Linear)]


def zeros(*places):
    return lambda model: [nn.init.zeros_(model[place].weight) for place in places]


def he(model):
    for place in (0, 2, 4):
        nn.init.kaiming_normal_(model[place].weight)


def guess(logits):
    return F.cross_entropy(logits, torch.randint(0, 10, (len(logits),)))


BEGINNINGS = {
    "ten times too large": (times(10), {"EG013": ("warning", "0.weight"), "EG016": ("warning", "cross_entropy")}),
    "by He": (he, {}),
    "as torch has it": (times(1), {}),
    "two of zeros": (zeros(2, 4), {"EG014": ("warning", "4.weight")}),
    "one of zeros": (zeros(4), {}),
    "biases far below zero": (lambda model: nn.init.constant_(model[0].bias, -20.0), {}),
}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_initial_values(tmp_path, name):
    change, expected = BEGINNINGS[name]
    bias = "zeros" not in name
    found = findings(tmp_path / "run", lambda: net(change, bias=bias), loss=guess)
    assert {code: level for code, (level, _) in found.items()} == {code: one[0] for code, one in expected.items()}


def decoder(*places):
    """Two transposed convolutions with an activation between, as a decoder ends, those at ``places`` zeros."""
    layers = (nn.ConvTranspose2d(4, 8, 2, stride=2), nn.GELU(), nn.ConvTranspose2d(8, 3, 2, stride=2), nn.Flatten())
    model = nn.Sequential(*layers, nn.Linear(3 * 256, 10))
    for place in places:
        nn.init.zeros_(model[place].weight)
        nn.init.zeros_(model[place].bias)
    return model


@pytest.mark.parametrize(("places", "expected"), [((0, 2), "2.weight"), ((2,), None), ((), None)])
def test_transposed_convolutions_of_zeros(tmp_path, places, expected):
    found = findings(
        tmp_path / "run", lambda: decoder(*places), rules=[TwoZeroLayers], size=(8, 4, 4, 4), steps=3, loss=guess
    )
    assert found == ({"EG014": ("warning", expected)} if expected else {})


class Layer(nn.Module):
    """A layer with its activation, as in Keras."""

    def __init__(self, bias):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(8, 16) / 4), nn.Parameter(torch.full((8,), bias))

    def forward(self, x):
        return F.relu(F.linear(x, self.weight, self.bias))


@pytest.mark.parametrize("bias", [-20.0, 0.0])
def test_a_layer_that_is_dead_from_the_start(tmp_path, bias):
    found = findings(tmp_path / "run", lambda: nn.Sequential(Layer(bias), nn.Linear(8, 10)), loss=guess)
    assert found == ({"EG015": ("warning", "0")} if bias else {})


def dropped(share, places):
    return nn.Sequential(*(part for _ in range(places) for part in (nn.Linear(16, 16), nn.GELU(), nn.Dropout(share))))


@pytest.mark.parametrize(("share", "places", "codes"), [(0.9, 3, {"EG216"}), (0.9, 2, set()), (0.5, 4, set())])
def test_dropout_of_nine_tenths_in_most_layers(tmp_path, share, places, codes):
    found = findings(tmp_path / "run", lambda: dropped(share, places), rules=[DropoutTooHigh], steps=42)
    assert set(found) == codes


@pytest.mark.parametrize("share", [0.9, 0.1])
def test_embeddings_are_dropped_out_outside_of_any_module(tmp_path, share):
    def contrast(out):
        left, right = F.normalize(F.dropout(out, share), dim=-1).chunk(2)
        return F.cross_entropy(left @ right.T * 10, torch.arange(len(left)))

    findings(tmp_path / "run", lambda: nn.Linear(16, 16), rules=[DropoutTooHigh], steps=3, loss=contrast)
    with eg.load(tmp_path / "run") as run:
        assert set(run.frame("dropout/p")["value"]) == {share}
