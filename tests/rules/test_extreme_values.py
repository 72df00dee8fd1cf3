"""No rule fails, whatever numbers are measured: a diverged training has zeros, infinities and NaN in any signal."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeglass_diag.record import Recorder
from edgeglass_diag.rules import CATALOGUE, Engine, configure
from edgeglass_diag.signals.losses import LOSS_CANDIDATES
from edgeglass_diag.signals.pairings import PAIRING_NUMBER
from edgeglass_diag.signals.parameters import OPTIMIZER_BEGUN, OPTIMIZER_ORPHANS

COUNTS = {OPTIMIZER_BEGUN, OPTIMIZER_ORPHANS, LOSS_CANDIDATES, PAIRING_NUMBER}
"""Signals that the recorder counts: whole numbers whatever the training does."""
VALUES = (0.0, -1.0, math.nan, math.inf, -math.inf, 1e300, 5e-324)
VOCABULARY, STEPS, BATCH = 50, 24, 16


class TextTower(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.1)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, tokens, mask):
        return self.layers(self.words(tokens), src_key_padding_mask=mask).mean(1)


class Both(nn.Module):
    """Two towers, a scale, a head for each of three widths, a regression and a classifier beside them."""

    def __init__(self):
        super().__init__()
        self.image = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 16), nn.LayerNorm(16)
        )
        self.text, self.value, self.classes = TextTower(), nn.Linear(16, 16), nn.Linear(16, 5)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, images, tokens, mask):
        image, text = self.image(images), self.text(tokens, mask)
        loss = F.mse_loss(self.value(image), text.detach()) + F.cross_entropy(self.classes(text), tokens[:, 0] % 5)
        for width in (4, 8, 16):
            sides = [F.normalize(side[:, :width], dim=-1) for side in (image, text)]
            logits, labels = self.scale.exp() * sides[0] @ sides[1].T, torch.arange(len(image))
            loss = loss + (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        return loss


@pytest.fixture(scope="module")
def windows():
    torch.manual_seed(0)
    model, made = Both(), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with Recorder(lambda step: True, lambda window: made.append(window.resolve())):
        for _ in range(STEPS):
            tokens = torch.randint(1, VOCABULARY, (BATCH, 7))
            mask = torch.arange(7) >= torch.randint(3, 8, (BATCH, 1))
            loss = model(torch.randn(BATCH, 3, 8, 8), tokens.masked_fill(mask, 0), mask)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return made


def is_possible(signal, value):
    """Whether a signal can be measured as this value, or as NaN."""
    if signal in COUNTS:
        return False
    low, high = (bound if bound is not None else value for bound in (signal.low, signal.high))
    return math.isnan(value) or low <= value <= high


def failures(windows, rules, matching, value, since):
    engine = Engine(rules)
    for window in windows:
        changed = [
            replace(reading, values=(value,) * len(reading.values))
            if window.step >= since and matching(reading.signal) and is_possible(reading.signal, value)
            else reading
            for reading in window.readings
        ]
        engine.feed(replace(window, readings=tuple(changed)))
    engine.end()
    return engine.failures


@pytest.mark.parametrize("since", [0, STEPS // 2])
@pytest.mark.parametrize("value", VALUES)
def test_no_rule_fails_where_all_signals_are_of_one_value(windows, value, since):
    assert failures(windows, configure(CATALOGUE, {}), lambda signal: True, value, since) == {}


@pytest.mark.parametrize(
    "value", [pytest.param(v, marks=() if v in (0.0, math.inf) else pytest.mark.long) for v in VALUES]
)
def test_no_rule_fails_where_one_signal_is_of_one_value(windows, value):
    signals = {reading.signal for window in windows for reading in window.readings}
    assert len(signals) > 60
    found = {}
    for signal in signals:
        rules = [rule for rule in configure(CATALOGUE, {}) if signal in rule.signals]
        if rules:
            found |= failures(windows, rules, lambda other, signal=signal: other is signal, value, STEPS // 3)
    assert found == {}
