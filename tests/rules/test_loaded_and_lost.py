"""What weights brought with them is destroyed by the first steps."""

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.rules.divergence import ForgetsWhatItLearned

RULES = (ForgetsWhatItLearned,)
STEPS = 24


def classifier():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))


def batch(step):
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(64, 16, generator=generator)
    return x, x[:, :8].argmax(1)


def fit(model, optimizer, steps, *, labels=lambda y, step: y):
    for step in range(steps):
        x, y = batch(step)
        loss = F.cross_entropy(model(x), labels(y, step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@functools.cache
def pretrained():
    model = classifier()
    fit(model, torch.optim.Adam(model.parameters(), lr=3e-3), 150)
    return model.state_dict()


def findings(folder, *, rate, loaded=True, labels=lambda y, step: y):
    model = classifier()
    if loaded:
        model.load_state_dict(pretrained())
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    with eg.watch(model, optimizer, out=folder, every=1, rules=[rule() for rule in RULES]):
        fit(model, optimizer, STEPS, labels=labels)
    with eg.load(folder) as run:
        return [(finding.code, str(finding.severity)) for finding in run.findings]


def test_a_rate_that_destroys_what_was_loaded(tmp_path):
    assert findings(tmp_path, rate=0.5) == [("EG207", "critical")]


@pytest.mark.parametrize("rate", [1e-5, 1e-3])
def test_a_fine_tuning_is_silent(tmp_path, rate):
    assert findings(tmp_path, rate=rate) == []


def test_weights_that_brought_nothing_have_nothing_to_lose(tmp_path):
    assert findings(tmp_path, rate=0.5, loaded=False) == []


def test_one_easy_batch_is_no_knowledge(tmp_path):
    def guessed(y, step):
        return y if step == 0 else y[torch.randperm(len(y), generator=torch.Generator().manual_seed(step))]

    assert findings(tmp_path, rate=1e-4, labels=guessed) == []
