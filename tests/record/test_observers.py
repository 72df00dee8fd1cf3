"""The order of observers changes nothing, one that fails stops no other, and the table in the docs is true."""

import dataclasses
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeglass_diag.record import Recorder, windows
from edgeglass_diag.record.activations import ActivationObserver
from edgeglass_diag.record.dispatch import EVENTS, listens
from edgeglass_diag.sites import Coverage
from tests.helpers.loops import Two, clip, sides

DOCUMENT = Path(__file__).parents[2] / "docs" / "observers.md"


class Both(nn.Module):
    """A side with latents that attend to tokens by an explicit, masked softmax, and a side with fused attention."""

    def __init__(self):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(4, 8))
        self.image, self.query, self.text = nn.Linear(6, 8), nn.Linear(8, 8), nn.Embedding(20, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.1)

    def forward(self, images, texts):
        tokens = self.image(images)
        logits = (self.query(self.latents) @ tokens.mT).masked_fill(images[:, None, :, 0] > 1, -1e9)
        return (logits.softmax(-1) @ tokens).mean(1), self.block(self.text(texts)).mean(1)


def train(*, inputs=False):
    torch.manual_seed(0)
    windows = []
    with Recorder(lambda step: True, lambda w: windows.append(w.resolve()), operands=inputs):
        model, tower = Both(), nn.Linear(6, 6).requires_grad_(False)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for step in range(3):
            for _ in range(2):
                images, texts = torch.randn(5, 7, 6), torch.randint(0, 20, (5, 6))
                with torch.no_grad():
                    images = tower(images)
                left, right = (F.normalize(side, dim=-1) for side in model(images, texts))
                loss = F.cross_entropy(left @ right.T, torch.arange(5)) - F.logsigmoid(left @ right.T).mean()
                loss.backward()
                if step == 1:
                    optimizer.zero_grad()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            optimizer.zero_grad()
    return windows


def contents(windows):
    """Readings, sites and origins of windows, whatever their order."""
    readings = {(r.step, r.site, r.signal): r.values for w in windows for r in w.readings}
    sites = {(w.step, dataclasses.replace(site, order=0)) for w in windows for site in w.sites}
    return readings, sites, [origin.name for w in windows for origin in w.origins]


@pytest.mark.parametrize("inputs", [False, True])
def test_observers_in_reversed_order_record_the_same(monkeypatch, inputs):
    expected = contents(train(inputs=inputs))
    make = windows.make_observers

    def reversed_observers(*args, **kwargs):
        made = make(*args, **kwargs)
        return dataclasses.replace(made, all=made.all[::-1])

    monkeypatch.setattr(windows, "make_observers", reversed_observers)
    readings, sites, origins = contents(train(inputs=inputs))
    assert readings.keys() == expected[0].keys()
    assert {key: repr(value) for key, value in readings.items()} == {k: repr(v) for k, v in expected[0].items()}
    assert sites == expected[1]
    assert origins == expected[2]
    assert {"attention/entropy", "gradient/dropped", "embedding/scale"} <= {signal for _, _, signal in readings}


def test_an_observer_that_fails_stops_no_other(monkeypatch):
    def fail(self, *_):
        raise ArithmeticError("no\nnumber")

    for event in ("module_begins", "module_ends", "window_ends"):
        monkeypatch.setattr(ActivationObserver, event, fail)
    windows = []
    with Recorder(lambda step: True, lambda w: windows.append(w.resolve())):
        model = Two()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        clip(*model(*sides())).backward()
        optimizer.step()
    failed = {s.path: s.detail for s in windows[0].sites if s.coverage is Coverage.RECORDER_FAILED}
    assert failed.keys() == {"", "image", "text", "ActivationObserver"}
    assert set(failed.values()) == {"ArithmeticError: no number"}
    signals = {reading.signal for reading in windows[0].readings}
    assert {"loss/total", "gradient/norm", "data/samples", "embedding/norm"} <= signals


def test_the_documented_table_of_events_is_true():
    observers = Recorder(lambda step: True, lambda w: None, operands=True)._windows.observers.all
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", DOCUMENT.read_text(), re.MULTILINE)
    documented = {event: re.findall(r"\w+", names) for event, names in rows if event in EVENTS}
    assert list(documented) == list(EVENTS)
    for event in EVENTS:
        assert documented[event] == [type(o).__name__ for o in observers if listens(type(o), event)], event
