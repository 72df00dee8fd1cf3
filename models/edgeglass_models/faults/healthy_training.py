"""Healthy variants of the training, in which nothing is to be found: schedules, precision, losses, optimizers, data."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid
from torch.optim import SGD, AdamW

from edgeglass_models.faults.case import Cases
from edgeglass_models.faults.model import TinyDual
from edgeglass_models.faults.optimization import everything_decayed
from edgeglass_models.faults.scenes import Pairs, draw_pairs
from edgeglass_models.faults.training import Setup, fresh_pairs, unseen_pairs

cases = Cases()


@cases.healthy()
def tiny_batch(setup: Setup) -> None:
    """Eight pairs in a batch."""
    setup.batch, setup.lr = 8, 1e-3


@cases.healthy()
def large_batch(setup: Setup) -> None:
    """256 pairs in a batch."""
    setup.batch, setup.steps = 256, 80


@cases.healthy()
def few_steps(setup: Setup) -> None:
    """A smoke run of eight steps."""
    setup.steps = 8


@cases.healthy()
def long_warmup(setup: Setup) -> None:
    """Half of the run is warm-up."""
    setup.warmup = 60


@cases.healthy()
def no_warmup(setup: Setup) -> None:
    """No warm-up and a constant rate."""
    setup.schedule = lambda setup, step: 1.0


@cases.healthy()
def low_rate(setup: Setup) -> None:
    """A tenth of the rate: slow, but it learns."""
    setup.lr, setup.steps = 2e-4, 160


@cases.healthy()
def warm_restarts(setup: Setup) -> None:
    """A cosine that restarts every 40 steps."""
    setup.schedule = lambda setup, step: 0.5 * (1 + math.cos(math.pi * (step % 40) / 40))


@cases.healthy()
def accumulation(setup: Setup) -> None:
    """Two micro-batches for each step."""
    setup.accumulate = 2


@cases.healthy()
def bfloat16(setup: Setup) -> None:
    """Autocast to bfloat16."""
    setup.autocast = torch.bfloat16


@cases.healthy()
def float16_scaled(setup: Setup) -> None:
    """Autocast to float16 with a loss scaler, which overflows at first."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24)
    setup.autocast = torch.float16

    def scaled(model: nn.Module, optimizer: torch.optim.Optimizer, setup: Setup, step: int) -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            loss = setup.forward(model, setup.batches(setup, step), setup)
        torch.autograd.backward(scaler.scale(loss))
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

    setup.update = scaled


@cases.healthy()
def label_smoothing(setup: Setup) -> None:
    """Labels smoothed by a tenth."""

    def loss(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
        logits, labels = scale * image @ text.T, torch.arange(len(image))
        return (cross_entropy(logits, labels, label_smoothing=0.1) + cross_entropy(logits.T, labels)) / 2

    setup.loss = loss


@cases.healthy()
def one_direction(setup: Setup) -> None:
    """Only images look for texts."""
    setup.loss = lambda image, text, scale: cross_entropy(scale * image @ text.T, torch.arange(len(image)))


@cases.healthy()
def siglip(setup: Setup) -> None:
    """Sigmoid loss with a learned bias."""

    def build(setup: Setup) -> nn.Module:
        model = TinyDual(temperature=0.1)
        model.bias = nn.Parameter(torch.tensor(-math.log(63.0)))
        return model

    def forward(model: Any, batch: Pairs, setup: Setup) -> Tensor:
        image, text, scale = model(batch.images, batch.tokens)
        signs = 2 * torch.eye(len(image)) - 1
        return -logsigmoid(signs * (scale * image @ text.T + model.bias)).sum() / len(image)

    setup.build, setup.forward = build, forward


@cases.healthy()
def fixed_scale(setup: Setup) -> None:
    """A temperature that is not learned."""
    setup.alter.append(lambda model: model.log_scale.requires_grad_(False))


@cases.healthy()
def scale_at_the_clamp(setup: Setup) -> None:
    """A scale that starts at CLIP's clamp of 100."""
    setup.build = lambda setup: TinyDual(temperature=0.01)


@cases.healthy()
def everything_in_one_group(setup: Setup) -> None:
    """AdamW with its default decay on all parameters, the scale among them."""
    setup.optimizer = everything_decayed


@cases.healthy()
def sgd(setup: Setup) -> None:
    """SGD with momentum."""
    setup.optimizer = lambda model, setup: SGD(model.parameters(), lr=0.5, momentum=0.9)
    setup.steps = 160


@cases.healthy()
def two_optimizers(setup: Setup) -> None:
    """A tower each."""

    def both(model: nn.Module, optimizer: torch.optim.Optimizer, setup: Setup, step: int) -> None:
        second = made.setdefault("second", AdamW(model.textual.parameters(), lr=setup.lr))  # type: ignore[union-attr]
        optimizer.zero_grad()
        second.zero_grad()
        torch.autograd.backward(setup.forward(model, setup.batches(setup, step), setup))
        optimizer.step()
        second.step()

    made: dict[str, torch.optim.Optimizer] = {}
    setup.optimizer = lambda model, setup: AdamW(
        [p for name, p in model.named_parameters() if not name.startswith("textual")], lr=setup.lr
    )
    setup.update = both


@cases.healthy()
def epochs_of_a_small_set(setup: Setup) -> None:
    """A set of 640 pairs, shuffled anew in each epoch."""

    def batches(setup: Setup, step: int) -> Pairs:
        pairs = draw_pairs(640, setup.seed)
        epoch, place = divmod(step, 640 // setup.batch)
        order = torch.randperm(640, generator=torch.Generator().manual_seed(epoch))
        return pairs[order[place * setup.batch : (place + 1) * setup.batch]]

    setup.batches = batches


@cases.healthy()
def images_between_zero_and_one(setup: Setup) -> None:
    """Images scaled to 0 to 1, as many models take them, in training and evaluation."""

    def scaled(pairs: Pairs) -> Pairs:
        return Pairs((pairs.images.clamp(-1, 1) + 1) / 2, pairs.tokens)

    setup.batches = lambda setup, step: scaled(fresh_pairs(setup, step))
    setup.held_out = lambda setup: scaled(unseen_pairs(setup))


@cases.healthy()
def clipped_at_a_tenth(setup: Setup) -> None:
    """Gradients are clipped at every step, which Adam does not mind."""
    setup.clip = 0.05


@cases.healthy()
def no_clipping(setup: Setup) -> None:
    """No clipping."""
    setup.clip = None
