"""Batches: their fingerprints, their padding, and where their samples stand."""

import math

import pytest
import torch
from torch import nn

from tests.helpers.loops import clip, record


def test_batches_leave_fingerprints_and_repeats_are_seen():
    def loop():
        model = nn.Linear(4, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        one = torch.arange(12.0).reshape(3, 4)
        for x in (one, one + 1, one, torch.ones(3, 4)):
            model(x).sum().backward()
            optimizer.step()

    _, got, _ = record(loop)
    first, second, third, fourth = (w["input0", "data/fingerprint"][0] for w in got)
    assert first == third != second
    assert fourth not in (first, second)
    assert [w["input0", "data/repeated"][0] for w in got] == [0, 0, 0, pytest.approx(2 / 3)]
    assert got[0]["input0", "data/mean"][0] == pytest.approx(5.5)


def test_padding_and_full_texts_of_token_batches():
    def loop():
        table = nn.Embedding(10, 4)
        optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
        table(torch.tensor([[5, 6, 0, 0], [7, 8, 9, 0], [1, 2, 3, 4], [2, 0, 0, 0]])).sum().backward()
        optimizer.step()

    _, got, _ = record(loop)
    assert got[0]["input0", "data/padding"][0] == pytest.approx((2 + 3) / 16)
    assert got[0]["input0", "data/unpadded_texts"][0] == 0.5


def test_attention_masks_are_no_texts_and_padding_may_stand_in_front():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(10, 4)

        def forward(self, input_ids, attention_mask, flags):
            return (self.table(input_ids) * attention_mask.unsqueeze(-1)).sum()

    def loop():
        model = Reader()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        ids = torch.arange(1, 9).repeat(3, 1)
        ids[:, :4] = 0
        model(input_ids=ids, attention_mask=(ids != 0).long(), flags=(ids != 0).long()).backward()
        optimizer.step()

    _, got, _ = record(loop)
    assert got[0]["input_ids", "data/padding"] == (0.5,)
    assert got[0]["input_ids", "data/unpadded_texts"] == (0.0,)
    assert ("attention_mask", "data/padding") not in got[0]
    assert math.isnan(got[0]["flags", "data/padding"][0])


def test_samples_that_stand_second_are_found_from_the_second_window_on():
    class SequenceFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.image, self.text = nn.LayerNorm(8), nn.Linear(8, 6), nn.Linear(5, 6)

        def forward(self, tokens, t):
            return self.image(self.norm(tokens)).mean(0), self.text(t)

    def loop():
        model = SequenceFirst()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            tokens = torch.randn(12, 1, 8).expand(12, 7, 8)
            clip(*model(tokens, torch.randn(7, 5))).backward()
            optimizer.step()

    _, got, _ = record(loop)
    assert got[1]["norm", "activation/sample_signal"][0] == pytest.approx(0, abs=1e-6)
