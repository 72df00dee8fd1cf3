"""Nothing in the recorded training step waits for the device: tensors without values cannot answer."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeglass_diag.record import Recorder, buffer
from edgeglass_diag.sites import Coverage
from tests.gpu.programs import training


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.1)
        self.image = nn.Conv2d(3, 16, 4, 4)
        self.pool = nn.Linear(16, 1)

    def forward(self, images, tokens):
        patches = self.image(images).flatten(2).mT
        weights = self.pool(patches).softmax(1)
        return (weights * patches).sum(1), self.block(self.embed(tokens)).mean(1)


def clip(image, text, labels):
    logits = 10.0 * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
    return F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels, reduction="sum", ignore_index=1)


def siglip(image, text, labels):
    logits = 10.0 * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T - 10
    return -F.logsigmoid((2 * torch.eye(len(logits), device="meta") - 1) * logits).sum() / len(logits)


def failures(windows):
    return [site for window in windows for site in window.sites if site.coverage is Coverage.RECORDER_FAILED]


@pytest.mark.parametrize("loss_of", [clip, siglip])
def test_a_recorded_step_never_asks_for_a_value(loss_of, monkeypatch):
    monkeypatch.setattr(buffer, "to_host", lambda parts, ready: torch.zeros(sum(part.numel() for part in parts)))
    monkeypatch.setattr(buffer, "has_values", lambda tensor: True)
    windows, kept = [], []
    with torch.device("meta"), Recorder(lambda step: True, windows.append, embeddings=kept.append):
        model = Model()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        for _ in range(2):
            images, tokens = torch.randn(8, 3, 16, 16), torch.zeros(8, 12, dtype=torch.long)
            loss_of(*model(images, tokens), torch.zeros(8, dtype=torch.long)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
    assert failures(windows) == []
    assert [(pairs.step, pairs.shape) for pairs in kept] == [(0, (2, 8, 16)), (1, (2, 8, 16))]
    signals = {signal for window in windows for _, signal, _, _ in window.entries}
    assert {"attention/entropy", "loss/total", "update/ratio", "embedding/scale", "data/padding"} <= signals


def test_nor_does_the_training_of_the_suite_for_an_accelerator(monkeypatch):
    monkeypatch.setattr(buffer, "to_host", lambda parts, ready: torch.zeros(sum(part.numel() for part in parts)))
    monkeypatch.setattr(buffer, "has_values", lambda tensor: True)
    windows = []
    with Recorder(lambda step: True, windows.append):
        made = training(torch.device("meta"))
        for _ in range(2):
            made.step()
    assert failures(windows) == []
    assert {"attention/entropy", "batchnorm/mismatch", "data/padding"} <= {
        s for w in windows for _, s, _, _ in w.entries
    }
