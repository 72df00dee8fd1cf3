"""What lies between backward and step, which answers a sigmoid loss gives, and where a part's output comes from."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.helpers.loops import Pair, batch, clip_loss, record


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
    of = {name: ("logsigmoid", f"loss/labels_{name}") for name in ("zero", "negative")}
    assert good[0][of["zero"]] == bad[0][of["negative"]] == (0.0,)
    assert good[0][of["negative"]][0] == bad[0][of["zero"]][0] == pytest.approx(5 / 6)


def test_pairs_and_strangers_in_two_calls_have_no_labels():
    two = steps(clear="", loss=lambda logits, _: -F.logsigmoid(logits).trace() - F.logsigmoid(-logits).sum())
    assert not any(signal.startswith("loss/labels") for _, signal in two[0])


@pytest.mark.parametrize("shift", [0, 1])
def test_a_sigmoid_loss_has_answers_and_a_diagonal(shift):
    seen = steps(clear="", loss=siglip, signs=lambda n: 2 * torch.eye(n).roll(shift, 1) - 1)
    assert seen[0]["logsigmoid", "loss/labels_diagonal"] == (float(shift == 0),)
    assert 0 <= seen[0]["logsigmoid", "loss/accuracy"][0] <= 1


def test_the_logits_of_a_softmax_that_is_written_out_are_known():
    seen = steps(clear="", loss=lambda logits, _: (torch.logsumexp(logits, 1) - logits.diagonal()).mean())
    assert seen[0]["logsumexp", "loss/candidates"] == (6.0,)
    assert seen[0]["image[:8] x text[:8]", "embedding/scale"][0] == pytest.approx(10, rel=1e-4)
    assert ("logsumexp", "loss/value") not in seen[0]


def test_lengths_along_the_batch_are_told_from_those_of_samples():
    def loop(dim):
        image, text = nn.Linear(6, 8), nn.Linear(5, 8)
        optimizer = torch.optim.SGD([*image.parameters(), *text.parameters()], lr=0.1)
        images, texts = batch(0)
        a, b = F.normalize(image(images[:6]), dim=dim), F.normalize(text(texts), dim=dim)
        clip_loss(a, b).backward()
        optimizer.step()

    for dim, even, uneven in ((0, "column_error", "norm_spread"), (1, "norm_spread", "column_error")):
        (seen,) = record(lambda dim=dim: loop(dim))[1]
        found = {signal: value[0] for (_, signal), value in seen.items() if signal.startswith("embedding/")}
        assert found[f"embedding/{even}"] < 1e-6
        assert found[f"embedding/{uneven}"] > 0.01


@pytest.mark.parametrize(("into", "lowest"), [("model", 0.4), ("teacher", 0.0)])
def test_an_average_that_is_copied_the_wrong_way_round_undoes_steps(into, lowest):
    def loop():
        model, teacher = Pair(), Pair().requires_grad_(False)
        teacher.load_state_dict(model.state_dict())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for seed in range(4):
            clip_loss(*model(*batch(seed))).backward()
            optimizer.step()
            optimizer.zero_grad()
            written, read = (model, teacher) if into == "model" else (teacher, model)
            for p, q in zip(written.parameters(), read.parameters(), strict=True):
                p.data.mul_(0.5).add_(q.data, alpha=0.5)

    shares = [w["", "update/reverted"][0] for w in record(loop)[1][1:]]
    assert len(shares) == 3
    assert min(shares) >= lowest
    assert max(shares) == 0 or into == "model"


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_momentum_encoder_is_written_and_a_frozen_tower_is_not(momentum):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.own, self.frozen = Pair(), Pair().requires_grad_(False)

        def forward(self, images, texts):
            self.frozen(images, texts)
            return self.own(images, texts)

    def loop():
        model = Model()
        optimizer = torch.optim.SGD(model.own.parameters(), lr=0.1)
        for seed in range(3):
            clip_loss(*model(*batch(seed))).backward()
            optimizer.step()
            for p, q in zip(model.own.parameters(), model.frozen.parameters(), strict=True):
                q.data.add_(p.data - q.data, alpha=momentum)

    windows = record(loop)[1]
    written = {site: v for (site, signal), v in windows[2].items() if signal == "weight/written"}
    assert written == {f"frozen.{name}.weight": (float(momentum > 0),) for name in ("image", "text", "mix")}


def test_losses_of_one_step_keep_apart_when_a_head_runs_between_them():
    def loop():
        model, head = Pair(), nn.Linear(8, 3)
        optimizer = torch.optim.SGD([*model.parameters(), *head.parameters()], lr=0.1)
        image, text = model(*batch(0))
        loss = clip_loss(image, text) + 0.0 * F.cross_entropy(head(image), torch.arange(6) % 3)
        loss.backward()
        optimizer.step()

    seen = record(loop)[1][0]
    sites = [f"cross_entropy{number}" for number in ("", "#1", "#2")]
    assert [seen[site, "loss/candidates"] for site in sites] == [(6.0,), (6.0,), (3.0,)]
    assert [seen[site, "loss/weight"] for site in sites] == [(0.5,), (0.5,), (0.0,)]
