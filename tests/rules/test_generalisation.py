"""Classifiers and contrasts whose evaluation tells what their loss does not."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.rules.generalisation import LearnedByHeart, RetrievalEndsAtChance

RULES = (LearnedByHeart, RetrievalEndsAtChance)

CLASSES = 10


def classifier(labels, *, samples=64, steps=120, evaluations=(60, 119)):
    """Train on a few samples, and evaluate on others; the label is that of the nearest prototype, or as ``labels``."""
    torch.manual_seed(0)
    prototypes = torch.randn(CLASSES, 32)
    true = torch.randint(0, CLASSES, (samples + 200,))
    inputs = prototypes[true] + 0.3 * torch.randn(samples + 200, 32)
    given = labels(true[:samples])
    model = nn.Sequential(nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, CLASSES))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(steps):
        batch = torch.randint(0, samples, (32,))
        optimizer.zero_grad()
        F.cross_entropy(model(inputs[batch]), given[batch]).backward()
        optimizer.step()
        if step in evaluations:
            model.eval()
            with torch.no_grad():
                F.cross_entropy(model(inputs[samples:]), true[samples:]).item()
            model.train()


def right(true):
    return true


def at_random(true):
    return torch.randint(0, CLASSES, true.shape)


def a_third_wrong(true):
    return torch.where(torch.rand(true.shape) < 1 / 3, at_random(true), true)


def codes(folder, train, **options):
    with eg.watch(out=folder, every=5) as watch:
        train(**options)
    return {finding.code: finding for finding in watch.findings}


def test_labels_that_are_learned_by_heart_are_told_by_the_evaluation(tmp_path):
    finding = codes(tmp_path, classifier, labels=at_random)["EG614"]
    assert finding.severity is eg.Severity.WARNING
    assert "100% of the answers are right in training" in finding.message


def test_one_evaluation_suffices_at_the_end(tmp_path):
    assert "EG614" in codes(tmp_path, classifier, labels=at_random, evaluations=(119,))


@pytest.mark.parametrize("labels", [right, a_third_wrong], ids=lambda labels: labels.__name__)
def test_what_holds_elsewhere_is_silent(tmp_path, labels):
    assert "EG614" not in codes(tmp_path, classifier, labels=labels)


def test_an_evaluation_before_anything_is_learned_is_silent(tmp_path):
    assert "EG614" not in codes(tmp_path, classifier, labels=right, steps=12, evaluations=(1, 3))


def towers(*, paired, steps=150, evaluations=(50, 100, 149)):
    """A regression onto embeddings of partners, evaluated by retrieval among all held-out pairs."""
    torch.manual_seed(0)
    mixing = torch.randn(16, 24)
    hidden = torch.randn(2048 + 64, 16)
    left, right = hidden + 0.1 * torch.randn_like(hidden), F.normalize(hidden @ mixing, dim=-1)
    order = torch.arange(2048) if paired else torch.randperm(2048)
    model = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 24))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(steps):
        batch = torch.randint(0, 2048, (64,))
        optimizer.zero_grad()
        loss = 1 - F.cosine_similarity(model(left[batch]), right[order[batch]]).mean()
        loss.backward()
        optimizer.step()
        if step in evaluations:
            model.eval()
            with torch.no_grad():
                similarity = F.normalize(model(left[2048:]), dim=-1) @ right[2048:].T
                (similarity.argmax(1) == torch.arange(64)).float().mean().item()
            model.train()


def test_retrieval_at_chance_is_told_at_the_end(tmp_path):
    finding = codes(tmp_path, towers, paired=False)["EG615"]
    assert finding.severity is eg.Severity.WARNING
    assert "over 64 rows" in finding.message


def test_retrieval_that_works_or_ends_early_is_silent(tmp_path):
    assert "EG615" not in codes(tmp_path / "works", towers, paired=True)
    assert "EG615" not in codes(tmp_path / "early", towers, paired=False, steps=30, evaluations=(10, 20, 29))
