"""Models that are called in unusual ways, or hardly at all."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeglass_diag.record import Recorder
from edgeglass_diag.sites import Coverage
from tests.helpers.loops import Two, record, train


class Odd(nn.Module):
    """A scalar parameter, a shared module, keywords only, a module without tensors, and one that is never called."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.shared, self.unused, self.empty = nn.Linear(3, 3), nn.Linear(3, 3), NoTensors()
        self.twice = nn.ModuleList([self.shared, self.shared])

    def forward(self, *, x, flag=None):
        self.empty("text", None)
        for layer in self.twice:
            x = layer(input=x)
        return {"out": (self.scale * x, None)}


class NoTensors(nn.Module):
    def forward(self, text, nothing):
        return text


def test_odd_models_are_observed_and_what_is_not_called_is_named():
    def loop():
        model = Odd()
        optimizer = torch.optim.SGD([p for n, p in model.named_parameters() if n != "scale"], lr=0.1)
        model(x=torch.ones(2, 3))["out"][0].square().sum().backward()
        optimizer.step()

    _, got, windows = record(loop)
    status = {(s.path, s.kind): s.coverage for s in windows[0].sites}
    assert ("shared", "activation/rms") in got[0]
    assert ("shared#1", "activation/rms") in got[0]
    assert status["empty", "module"] is Coverage.OBSERVED
    assert status["unused", "module"] is Coverage.NOT_CALLED
    assert status["unused.weight", "parameter"] is Coverage.HELD_WITHOUT_GRADIENT
    assert status["scale", "parameter"] is Coverage.NOT_HELD_WITH_GRADIENT
    assert status["x", "data"] is Coverage.OBSERVED


def test_a_loop_that_never_steps_fills_no_memory():
    model = nn.Linear(2, 2)
    recorder = Recorder(lambda step: True, lambda w: None)
    sizes = []
    with recorder:
        for _ in range(600):
            model(torch.ones(2, 2)).sum().backward()
            sizes.append(sum(len(e.values) for e in recorder._recording.buffer._entries.values()))
    assert max(sizes) < 5000


def test_a_frozen_tower_called_on_its_own_is_named_as_not_recorded_and_does_not_use_up_the_window():
    def loop():
        tower, head = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 2)
        optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
        for _ in range(2):
            for _ in range(300):
                with torch.no_grad():
                    features = tower(torch.ones(3, 4))
            head(features).square().sum().backward()
            optimizer.step()

    _, got, windows = record(loop)
    assert all(("", "activation/rms") in window for window in got)
    status = {s.path: s.coverage for s in windows[0].sites if s.kind == "module"}
    assert status == {"": Coverage.OBSERVED} | dict.fromkeys(
        ("Sequential", "Sequential.0", "Sequential.1"), Coverage.NOT_CALLED
    )


def test_models_built_one_after_the_other_keep_their_own_names():
    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.bb, self.ba = nn.Linear(8, 6), nn.Linear(5, 6)

        def forward(self, x, t):
            return self.bb(x), self.ba(t)

    def loop():
        for fold in range(8):
            train(1, model=(Two, Other)[fold % 2]())

    _, got, _ = record(loop)
    for fold, window in enumerate(got):
        sides = (("image", "text"), ("bb", "ba"))[fold % 2]
        expected = {f"{side}.{kind}" for side in sides for kind in ("weight", "bias")} | {""}
        assert {site for site, signal in window if signal == "gradient/norm"} == expected


@pytest.mark.parametrize(
    "act",
    [
        lambda: nn.Linear(3, 2)(torch.zeros(0, 3)),
        lambda: F.cross_entropy(nn.Linear(3, 2)(torch.zeros(0, 3)), torch.zeros(0, dtype=torch.long), reduction="sum"),
        lambda: nn.LazyLinear(3)(torch.randn(2, 4)),
        lambda: nn.Linear(3, 2).to(torch.complex64)(torch.randn(2, 3, dtype=torch.complex64)),
        lambda: nn.Identity()(torch.eye(3).to_sparse()),
        lambda: nn.Sequential(nn.Linear(3, 3))(torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(1, 3)])),
    ],
)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested", "ignore:Lazy modules", "ignore:Complex modules")
def test_tensors_that_cannot_be_measured_are_no_failure(act):
    record(act)


def test_a_view_whose_base_came_by_a_gradient_is_measured_as_others_are():
    class Writes(nn.Module):
        def __init__(self):
            super().__init__()
            self.proj = nn.Linear(4, 4)

        def forward(self, x):
            tokens = torch.zeros(len(x), 4)
            with torch.no_grad():
                head = tokens[:, :2]
            tokens.copy_(self.proj(x))
            return tokens + head.detach().sum()

    def loop():
        model = Writes()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(torch.randn(3, 4)).square().mean().backward()
        optimizer.step()

    record(loop)
