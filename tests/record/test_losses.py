"""Losses in all their forms: what is known of them, and their chance level."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.helpers.loops import Two, clip, plain, record, sides, train


def binary_entropy(share):
    """The loss of a sigmoid that knows only the share of positives."""
    return -share * math.log(share) - (1 - share) * math.log1p(-share)


def siglip(image, text):
    logits = 10.0 * image @ text.T - 10.0
    return -F.logsigmoid((2 * torch.eye(len(logits)) - 1) * logits).sum() / len(logits)


def siglip_as_bce(image, text):
    logits = 10.0 * image @ text.T - 10.0
    return F.binary_cross_entropy_with_logits(logits, torch.eye(len(logits)), reduction="sum") / len(logits)


@pytest.mark.parametrize("loss_of", [siglip, siglip_as_bce])
def test_sigmoid_losses_have_a_chance_level_and_embeddings(loss_of):
    (_, losses), got, _ = record(lambda: plain(1, loss_of=loss_of))
    assert got[0]["", "loss/explained"][0] == pytest.approx(losses[0], rel=1e-5)
    assert got[0]["", "loss/chance"][0] == pytest.approx(6 * binary_entropy(1 / 6), rel=1e-5)
    scale = next(v for (_, signal), v in got[0].items() if signal == "embedding/scale")
    if loss_of is siglip_as_bce:  # the other multiplies by its labels before the loss
        assert scale[0] == pytest.approx(10.0, rel=1e-4)


def test_nll_of_a_log_softmax_is_a_cross_entropy():
    def loss_of(image, text):
        return F.nll_loss(F.log_softmax(10.0 * image @ text.T, dim=-1), torch.arange(len(image)))

    (_, losses), got, _ = record(lambda: plain(1, loss_of=loss_of))
    assert got[0]["", "loss/explained"][0] == pytest.approx(losses[0], rel=1e-6)
    assert got[0]["", "loss/chance"][0] == pytest.approx(math.log(6))
    assert next(v for (_, s), v in got[0].items() if s == "embedding/scale")[0] == pytest.approx(10.0, rel=1e-4)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_ignored_targets_count_neither_as_rows_nor_as_errors(reduction):
    target = torch.tensor([0, -100, 2, -100])

    def loop():
        weight = nn.Parameter(torch.eye(4) * 5)
        optimizer = torch.optim.SGD([weight], lr=0.1)
        loss = F.cross_entropy(weight * 1.0, target, reduction=reduction)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    loss, got, _ = record(loop)
    assert got[0]["cross_entropy", "loss/accuracy"] == (1.0,)
    assert got[0]["cross_entropy", "loss/rows"] == (2.0,)
    assert got[0]["cross_entropy", "loss/value"][0] == pytest.approx(loss / (2 if reduction == "sum" else 1))
    assert got[0]["", "loss/chance"][0] == pytest.approx(math.log(4) * (2 if reduction == "sum" else 1))


def test_a_loss_that_is_changed_in_place_is_still_explained():
    def divided(image, text):
        loss = clip(image, text)
        loss /= 4
        return loss

    def summed(image, text):
        loss = clip(image, text)
        loss += clip(text, image)
        return loss

    for loss_of in (divided, summed):
        _, got, _ = record(lambda loss_of=loss_of: train(1, loss_of=loss_of))
        assert got[0]["", "loss/explained"] == pytest.approx(got[0]["", "loss/total"], rel=1e-5)


def test_a_gradient_taken_aside_is_not_part_of_the_loss():
    def loop():
        model = Two()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loss = clip(*model(*sides()))
        torch.autograd.grad(loss, [model.image.weight], retain_graph=True)
        loss.backward()
        optimizer.step()

    _, got, _ = record(loop)
    assert got[0]["", "loss/explained"] == pytest.approx(got[0]["", "loss/total"], rel=1e-5)


def test_the_scale_of_siglip_is_read_before_its_labels_come_in():
    def siglip(image, text):
        logits = 7.0 * image @ text.T - 10.0
        return -F.logsigmoid((2 * torch.eye(len(logits)) - 1) * logits).sum() / len(logits)

    _, got, _ = record(lambda: train(1, loss_of=siglip))
    assert next(v for (_, s), v in got[0].items() if s == "embedding/scale")[0] == pytest.approx(7.0, rel=1e-3)


@pytest.mark.parametrize("chunks", [1, 2])
def test_siglip_in_chunks_has_the_chance_level_of_the_whole(chunks):
    def siglip(image, text):
        size, total = len(image) // chunks, 0.0
        for start in range(0, len(image), size):
            logits = 7.0 * image[:size] @ text[start : start + size].T - 3.0
            sign = 2 * torch.eye(size) - 1 if start == 0 else -torch.ones(size, size)
            total = total - F.logsigmoid(sign * logits).sum() / size
        return total

    _, got, _ = record(lambda: train(1, loss_of=siglip))
    level = len(sides()[0]) * binary_entropy(1 / 8)
    assert got[0]["", "loss/chance"][0] == pytest.approx(level, rel=1e-5)


@pytest.mark.parametrize(("reduction", "weighted"), [("none", False), ("none", True), ("sum", True), ("mean", True)])
def test_ignored_and_weighted_classes_have_the_chance_level_of_what_counts(reduction, weighted):
    target = torch.tensor([0, 1, 2, 3, -100, -100, -100, -100])
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0]) if weighted else None
    counted = 10.0 if weighted else 4.0

    def loop():
        logits = nn.Parameter(torch.zeros(8, 4))
        optimizer = torch.optim.SGD([logits], lr=0.1)
        loss = F.cross_entropy(logits * 1.0, target, weight=weight, reduction=reduction)
        (loss if reduction == "mean" else loss.sum() / counted).backward()
        optimizer.step()

    _, got, _ = record(loop)
    for signal in ("loss/total", "loss/explained", "loss/chance"):
        assert got[0]["", signal][0] == pytest.approx(math.log(4), rel=1e-5), signal


def test_logits_that_are_masked_out_are_no_candidates():
    def nt_xent(image, text):
        both = torch.cat([image, text])
        logits = (both @ both.T * 5.0).masked_fill(torch.eye(len(both), dtype=torch.bool), -math.inf)
        return F.cross_entropy(logits, torch.arange(len(both)).roll(len(image)))

    _, got, _ = record(lambda: train(1, loss_of=nt_xent))
    assert got[0]["", "loss/chance"][0] == pytest.approx(math.log(15), rel=1e-6)
    assert got[0]["cross_entropy", "loss/candidates"] == (15.0,)
    assert 0 < got[0]["cross_entropy", "loss/logit_std"][0] < 5
    assert next(v for (_, s), v in got[0].items() if s == "embedding/scale")[0] == pytest.approx(5.0, rel=1e-4)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_logits_that_are_not_finite_leave_their_candidates(broken):
    def loop():
        layer = nn.Linear(3, 5)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        logits = layer(torch.ones(4, 3))
        logits = torch.cat([logits[:, :4], torch.full((4, 1), broken)], 1)
        F.cross_entropy(logits, torch.arange(4)).backward()
        optimizer.step()

    (window,) = record(loop)[1]
    assert window["cross_entropy", "loss/candidates"] == (5.0,)


def test_a_gradient_given_to_backward_scales_the_loss():
    def loop():
        model = Two()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        clip(*model(*sides())).backward(torch.tensor(0.25))
        optimizer.step()

    _, got, _ = record(loop)
    assert got[0]["", "loss/explained"] == pytest.approx(got[0]["", "loss/total"], rel=1e-5)
    assert got[0]["", "loss/chance"][0] == pytest.approx(math.log(8) / 4)


@pytest.mark.parametrize("learned", [False, True])
def test_a_criterion_that_is_called_for_each_of_its_losses_has_one_site_for_each(learned):
    class Criterion(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(())) if learned else 1.0

        def forward(self, image, text):
            return clip(self.scale * image, text)

    criterion = Criterion()

    def by_prefix(image, text):
        return criterion(image, text) + 0.5 * criterion(image[:, :3], text[:, :3])

    _, got, _ = record(lambda: train(2, loss_of=by_prefix))
    for window in got:
        weights = {site: value for (site, signal), value in window.items() if signal == "loss/weight"}
        assert sorted(weights.values()) == [(0.5,), (1.0,)]
        assert len({site.removesuffix("#1") for site in weights}) == 1
        assert window["", "loss/explained"] == pytest.approx(window["", "loss/total"], rel=1e-5)
