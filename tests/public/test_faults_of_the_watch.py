"""Whatever fails in the watch, its writing thread or its store: the training is what it is without one."""

from __future__ import annotations

import zlib
from contextlib import suppress

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from tests.helpers.faults import Fault, functions_of, in_place_of

FUNCTIONS = functions_of(
    "edgeglass_diag.watch_block", "edgeglass_diag.watching", "edgeglass_diag.window_writer", "edgeglass_diag.backlog",
    "edgeglass_diag.schedule",
    "edgeglass_diag.process", "edgeglass_diag.liveness", "edgeglass_diag.folders", "edgeglass_diag.store.writer",
    "edgeglass_diag.store.state", "edgeglass_diag.store.slices", "edgeglass_diag.store.compaction",
    "edgeglass_diag.store.layouts", "edgeglass_diag.store.parts", "edgeglass_diag.store.schema",
    "edgeglass_diag.store.embeddings", "edgeglass_diag.rules.engine", "edgeglass_diag.rules.history",
    "edgeglass_diag.rules.series", "edgeglass_diag.rules.folding", "edgeglass_diag.rules.causality",
    "edgeglass_diag.rules.choice", "edgeglass_diag.rules.catalogue", "edgeglass_diag.rules.plugins",
    "edgeglass_diag.rules.config", "edgeglass_diag.rules.record_health", "edgeglass_diag.rules.training_state",
)  # fmt: skip
OUTERMOST = {
    "watch_block.watch", "watching.Watch.__enter__", "watching.Watch.__exit__", "watching.Watch.log",
    "window_writer.WindowWriter._run", "window_writer.WindowWriter._safely", "process.say",
}  # fmt: skip
"""What catches the faults of all others and tells of them."""
FUNCTIONS = {name: function for name, function in FUNCTIONS.items() if name not in OUTERMOST}


RULES = ["EG10", "EG2", "EG40", "EG80", "EG90"]
LONG = pytest.mark.long
USUAL = {
    name
    for name in FUNCTIONS
    if name.startswith(("watching.Watch.", "window_writer.", "backlog.", "writer.", "state."))
    and zlib.crc32(name.encode()) % 2
}
"""Functions that fail in make test: half of those of the watch and the store, but for what stands in for a watch that
could not be opened, which does not run here. All do in make test-long."""


class OwnError(Exception):
    """Of the user's."""


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.image, self.text = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8)), nn.Linear(5, 8)

    def forward(self, images, texts):
        return self.image(images) @ self.text(texts).T


def prepared():
    torch.manual_seed(0)
    model = Pair()
    return model, torch.optim.Adam(model.parameters())


def train(model, optimizer, steps=14):
    losses = []
    for _ in range(steps):
        loss = F.cross_entropy(model(torch.randn(4, 6), torch.randn(4, 5)), torch.arange(4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def watched(folder):
    """Train watched, end by an error of one's own, and ask what was found."""
    model, optimizer = prepared()
    losses = []
    with suppress(OwnError), eg.watch(model, optimizer, out=folder, every=1, rules=RULES) as watch:
        losses += train(model, optimizer)
        watch.log({"mine": 1.0}, 5)
        raise OwnError
    return losses


@pytest.fixture(scope="module")
def alone():
    return train(*prepared())


@pytest.fixture(autouse=True)
def compacting(monkeypatch):
    monkeypatch.setattr("edgeglass_diag.store.compaction.WINDOWS", 3)


CALLED: set[str] = set()


def every_case():
    for name in FUNCTIONS:
        for mode in Fault.MODES:
            usual = mode == "first" and name in USUAL
            yield pytest.param(name, mode, marks=() if usual else LONG, id=f"{name}-{mode}")


@pytest.mark.parametrize(("name", "mode"), list(every_case()))
def test_a_fault_does_not_reach_the_training(name, mode, alone, tmp_path):
    fault = Fault(mode)
    with in_place_of(FUNCTIONS[name], fault):
        assert watched(tmp_path / "run") == alone
    assert torch.nn.modules.module._global_forward_hooks == {}
    if fault.calls:
        CALLED.add(name)


def test_the_faults_are_those_of_code_that_runs():
    assert len(CALLED & USUAL) > 0.6 * len(USUAL), sorted(USUAL - CALLED)
