"""What lies between backward and step, which answers a sigmoid loss gives, and where a part's output comes from."""

import pytest
import torch
from test_training_loops import Pair, batch, clip_loss, record
from torch import nn
from torch.nn import functional as F


def steps(*, clear, signs=lambda n: 2 * torch.eye(n) - 1, loss=None):
    def loop():
        model = Pair()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for seed in range(4):
            image, text = model(*batch(seed))
            logits = 10 * image @ text.T
            (clip_loss(image, text) if loss is None else loss(logits, signs(len(logits)))).backward()
            if clear == "before the step":
                optimizer.zero_grad()
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)

    return record(loop)[1]


def siglip(logits, signs):
    return -F.logsigmoid(signs * logits).sum() / len(logits)


def test_gradients_that_are_gone_at_the_step_are_seen():
    good, bad = steps(clear="after the step"), steps(clear="before the step")
    assert [w["", "gradient/cleared"] for w in good[1:]] == [(0.0,)] * 3
    assert [w["", "gradient/cleared"] for w in bad[1:]] == [(1.0,)] * 3


def test_labels_of_a_sigmoid_loss_are_signs_or_not():
    good = steps(clear="", loss=siglip)
    bad = steps(clear="", loss=siglip, signs=torch.eye)
    assert good[0]["logsigmoid", "loss/labels_unsigned"] == (0.0,)
    assert bad[0]["logsigmoid", "loss/labels_unsigned"][0] == pytest.approx(5 / 6)


@pytest.mark.parametrize("shift", [0, 1])
def test_a_sigmoid_loss_has_answers_and_a_diagonal(shift):
    seen = steps(clear="", loss=siglip, signs=lambda n: 2 * torch.eye(n).roll(shift, 1) - 1)
    assert seen[0]["logsigmoid", "loss/labels_diagonal"] == (float(shift == 0),)
    assert 0 <= seen[0]["logsigmoid", "loss/accuracy"][0] <= 1


def test_lengths_along_the_batch_are_told_from_those_of_samples():
    def loop(dim):
        image, text = nn.Linear(6, 8), nn.Linear(5, 8)
        optimizer = torch.optim.SGD([*image.parameters(), *text.parameters()], lr=0.1)
        images, texts = batch(0)
        a, b = F.normalize(image(images[:6]), dim=dim), F.normalize(text(texts), dim=dim)
        clip_loss(a, b).backward()
        optimizer.step()

    for dim, even, uneven in ((0, "column_spread", "norm_spread"), (1, "norm_spread", "column_spread")):
        (seen,) = record(lambda dim=dim: loop(dim))[1]
        spreads = {signal: value[0] for (_, signal), value in seen.items() if signal.endswith("_spread")}
        assert spreads[f"embedding/{even}"] < 1e-6
        assert spreads[f"embedding/{uneven}"] > 0.01
