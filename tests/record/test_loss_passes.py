"""Of which passes the loss of a step is the sum: it is what the training itself prints."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.helpers.loops import record

SIZE, PARTS = 8, 4


class Sides(nn.Module):
    def __init__(self):
        super().__init__()
        self.image, self.text = nn.Linear(6, 8), nn.Linear(5, 8)

    def forward(self, images, texts):
        return self.image(images), self.text(texts)


def contrast(image, text):
    logits = 10 * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
    return F.cross_entropy(logits, torch.arange(len(logits)))


def parts(*batch):
    return zip(*(tensor.split(SIZE // PARTS) for tensor in batch), strict=True)


def plain(model, images, texts):
    loss = contrast(*model(images, texts))
    loss.backward()
    return loss.item()


def scaled(model, images, texts):
    loss = contrast(*model(images, texts))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(loss).backward()
    return loss.item()


def sharpness_aware(model, images, texts):
    loss = contrast(*model(images, texts))
    loss.backward()
    weights = list(model.parameters())
    moves = [0.05 * p.grad / p.grad.norm() for p in weights]
    for weight, move in zip(weights, moves, strict=True):
        weight.data.add_(move)
        weight.grad = None
    contrast(*model(images, texts)).backward()
    for weight, move in zip(weights, moves, strict=True):
        weight.data.sub_(move)
    return loss.item()


def cached_gradients(model, images, texts):
    """The gradients of the embeddings first, those of the weights part by part: GradCache."""
    with torch.no_grad():
        image, text = model(images, texts)
    loss = contrast(image.requires_grad_(), text.requires_grad_())
    loss.backward()
    for pixels, tokens, *gradients in parts(images, texts, image.grad, text.grad):
        made = model(pixels, tokens)
        sum(torch.dot(a.flatten(), g.flatten()) for a, g in zip(made, gradients, strict=True)).backward()
    return loss.item()


def cached_behind_a_hook(model, images, texts):
    """The same, begun by the backward pass of a number that stands for the loss, as CachedMNRL does it."""
    with torch.no_grad():
        image, text = model(images, texts)
    loss = contrast(image.requires_grad_(), text.requires_grad_())
    loss.backward()
    stand_in = loss.detach().requires_grad_()

    def second_pass(gradient):
        with torch.enable_grad():
            again = model(images, texts)
            ((again[0] * image.grad).sum() + (again[1] * text.grad).sum()).backward()

    stand_in.register_hook(second_pass)
    (stand_in / 1).backward()
    return loss.item()


def divided_batch(model, images, texts):
    """Each part with gradients beside the cached rest of the batch: accum_freq of open_clip."""
    with torch.no_grad():
        cached = [model(*part) for part in parts(images, texts)]
    for place, part in enumerate(parts(images, texts)):
        rows = [*cached[:place], model(*part), *cached[place + 1 :]]
        loss = contrast(*(torch.cat(side) for side in zip(*rows, strict=True)))
        loss.backward()
    return loss.item()


def divided_loss(model, images, texts):
    losses = [contrast(*model(*part)) / PARTS for part in parts(images, texts)]
    for loss in losses:
        loss.backward()
    return sum(loss.item() for loss in losses)


WAYS = [plain, scaled, sharpness_aware, cached_gradients, cached_behind_a_hook, divided_batch, divided_loss]


def loop(step_of, steps=3):
    def run():
        model = Sides()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        printed = []
        for _ in range(steps):
            optimizer.zero_grad()
            printed.append(step_of(model, torch.randn(SIZE, 6), torch.randn(SIZE, 5)))
            optimizer.step()
        return printed

    return run


@pytest.mark.parametrize("step_of", WAYS, ids=lambda way: way.__name__)
def test_the_loss_is_what_the_training_prints(step_of):
    printed, got, _ = record(loop(step_of))
    assert [w["", "loss/total"][0] for w in got] == pytest.approx(printed, rel=1e-5)
    assert [w["", "loss/explained"][0] for w in got] == pytest.approx(printed, rel=1e-5)


def test_accumulation_that_does_not_divide_is_a_sum_and_says_of_how_many():
    def step_of(model, images, texts):
        losses = [contrast(*model(*part)) for part in parts(images, texts)]
        for loss in losses:
            loss.backward()
        return sum(loss.item() for loss in losses)

    printed, got, _ = record(loop(step_of))
    assert [w["", "loss/total"][0] for w in got] == pytest.approx(printed, rel=1e-5)
    assert [w["", "loss/passes"][0] for w in got] == [PARTS] * 3


def test_a_step_of_another_optimizer_within_the_window_is_no_trial():
    def run():
        model, critic = Sides(), nn.Linear(8, 1)
        first, second = torch.optim.SGD(model.parameters(), lr=0.1), torch.optim.SGD(critic.parameters(), lr=0.1)
        printed = []
        for _ in range(3):
            first.zero_grad()
            second.zero_grad()
            one = contrast(*model(torch.randn(SIZE, 6), torch.randn(SIZE, 5)))
            one.backward()
            first.step()
            other = critic(model(torch.randn(SIZE, 6), torch.randn(SIZE, 5))[0]).square().mean()
            other.backward()
            second.step()
            printed.append((one.item(), other.item()))
        return printed

    printed, got, _ = record(run)
    assert got[0]["", "loss/total"][0] == pytest.approx(printed[0][0], rel=1e-5)
    assert got[1]["", "loss/total"][0] == pytest.approx(printed[0][1] + printed[1][0], rel=1e-5)
