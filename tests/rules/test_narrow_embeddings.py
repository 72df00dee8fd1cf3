"""Embeddings that are too narrow for their candidates, and narrow ones that are not."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.records import Severity
from edgeglass_diag.rules.floors import narrow_floor
from edgeglass_diag.rules.narrow_embeddings import EmbeddingsTooNarrow
from tests.helpers.windows import STEPS, embedding, judge, pair, window

RULES = (EmbeddingsTooNarrow,)


def found(width, *, more=(), candidates=128, scale=14.3, accuracy=0.3, spread=0.0):
    left, right = embedding("picture", width), embedding("caption", width)
    sites = [left, right, both := pair(left, right), *more]
    readings = {
        (both.path, "embedding/scale"): scale,
        ("cross_entropy", "loss/candidates"): candidates,
        ("cross_entropy", "loss/rows"): candidates,
        ("cross_entropy", "loss/accuracy"): accuracy,
        (left.path, "embedding/norm_spread"): spread,
    } | {(side.path, "embedding/sample_signal"): 0.5 for side in (left, right, *more)}
    return judge(window(step, readings, sites) for step in STEPS)[0].get("EG322")


@pytest.mark.parametrize(("width", "candidates", "scale"), [(2, 64, 14.3), (2, 128, 100.0), (3, 256, 14.3)])
def test_a_width_that_leaves_no_room_is_named(width, candidates, scale):
    finding = found(width, candidates=candidates, scale=scale)
    assert finding.severity is Severity.WARNING
    assert f"{width}, in which {candidates} candidates lie so close" in finding.message


@pytest.mark.parametrize(
    ("width", "candidates", "scale"),
    [(64, 128, 14.3), (8, 128, 14.3), (2, 4, 14.3), (2, 128, 0.5)],
    ids=["wide", "eight", "few candidates", "the scale is to blame"],
)
def test_a_width_with_room_is_silent(width, candidates, scale):
    assert found(width, candidates=candidates, scale=scale) is None


def test_of_nested_prefixes_the_widest_counts():
    assert found(2, more=[embedding("picture", 64), embedding("caption", 64)]) is None


def test_lengths_tell_candidates_apart():
    assert found(2, spread=0.4) is None


def test_it_is_a_fact_where_the_answers_are_right():
    finding = found(2, accuracy=1.0)
    assert finding.severity is Severity.INFO


def test_the_floor_is_reached_by_the_best_embeddings():
    """32 pairs placed by gradient descent on a circle; a contrast of pairs has no lower loss."""
    torch.manual_seed(0)
    places = torch.randn(32, 2, requires_grad=True)
    optimizer = torch.optim.Adam([places], lr=0.05)
    for _ in range(300):
        unit = F.normalize(places, dim=1)
        loss = F.cross_entropy(5 * unit @ unit.T, torch.arange(32))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    floor = narrow_floor(5.0, 32, 2)
    assert floor <= loss.item() <= floor + 0.02
    assert floor < math.log(32)


@pytest.mark.parametrize(("width", "codes"), [(2, {"EG322"}), (32, set())])
def test_two_views_by_a_written_contrast(tmp_path, width, codes):
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(20, 64), nn.Tanh(), nn.Linear(64, width))
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    with eg.watch(encoder, optimizer, out=tmp_path, every=2, rules=[EmbeddingsTooNarrow()]):
        for _ in range(26):
            x = torch.randn(48, 20)
            a, b = (F.normalize(encoder(x + 0.1 * torch.randn_like(x)), dim=-1) for _ in range(2))
            scores = a @ b.T / 0.1
            loss = (torch.logsumexp(scores, 1) - scores.diagonal()).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert {finding.code for finding in eg.load(tmp_path).findings} == codes
