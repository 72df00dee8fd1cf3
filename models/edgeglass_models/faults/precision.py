"""Faults of precision and of Matryoshka heads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from torch.optim import AdamW, Optimizer

from edgeglass_models.faults.case import Cases
from edgeglass_models.faults.scenes import Pairs
from edgeglass_models.faults.training import Setup, clip_loss

cases = Cases()


@cases.fault("EG802", "EG007")
def fp16_underflow(setup: Setup) -> None:
    """float16 without a loss scaler, and a loss so small that gradients vanish in it."""
    setup.autocast = torch.float16
    setup.loss = lambda image, text, scale: clip_loss(image.float(), text.float(), scale.float()) * 1e-5
    setup.clip = None


@cases.fault("EG803")
def steps_skipped_for_ever(setup: Setup) -> None:
    """The loss scaler finds an infinite gradient at every second step and skips it."""
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=10**6, backoff_factor=0.9999)

    def scaled(model: nn.Module, optimizer: Optimizer, setup: Setup, step: int) -> None:
        optimizer.zero_grad()
        loss = setup.forward(model, setup.batches(setup, step), setup)
        torch.autograd.backward(scaler.scale(loss))
        if step % 3:
            next(p for p in model.parameters() if p.grad is not None).grad.fill_(torch.inf)  # type: ignore[union-attr]
        scaler.step(optimizer)
        scaler.update()

    setup.update = scaled


@cases.fault("EG806")
def gradients_made_finite(setup: Setup) -> None:
    """Some captions have an embedding of zero, whose direction is NaN; nan_to_num hides it in logits and gradients."""

    def loss(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
        kept = torch.ones(len(text), 1)
        kept[::16] = 0
        lost = text * kept
        logits = (scale * image @ (lost / lost.norm(dim=-1, keepdim=True)).T).nan_to_num()
        labels = torch.arange(len(logits))
        return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2

    def without_nan(model: nn.Module, optimizer: Optimizer, setup: Setup, step: int) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(setup.forward(model, setup.batches(setup, step), setup))
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.nan_to_num_()
        optimizer.step()

    setup.loss, setup.update = loss, without_nan


@cases.fault("EG205")
def updates_below_bfloat16(setup: Setup) -> None:
    """Weights in bfloat16, whose steps are smaller than half of their spacing."""
    setup.alter.append(lambda model: model.to(torch.bfloat16))
    setup.lr = 1e-6
    setup.optimizer = lambda model, setup: AdamW(model.parameters(), lr=setup.lr, weight_decay=0.0)

    def forward(model: nn.Module, batch: Pairs, setup: Setup) -> Tensor:
        return setup.loss(*model(batch.images.to(torch.bfloat16), batch.tokens))

    setup.forward = forward
    setup.embed = lambda model, pairs: model(pairs.images.to(torch.bfloat16), pairs.tokens)


@cases.fault("EG801", "EG202", "EG204")
def logarithm_of_zero(setup: Setup) -> None:
    """A term of the loss takes the logarithm of a probability that becomes zero."""

    def loss(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
        return clip_loss(image, text, scale) - 0.1 * (40 * scale * image @ text.T).softmax(-1).log().mean()

    setup.loss = loss


def prefixes(model: Any, dims: tuple[int, ...], *, normalise_first: bool) -> Any:
    """Return a forward pass of Matryoshka prefixes: slice, then normalise; or the other way round."""

    def forward(images: Tensor, tokens: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        image, text = model.encode(images, tokens)
        if normalise_first:
            image, text = normalize(image, dim=-1), normalize(text, dim=-1)
        sides = [(image[:, :d], text[:, :d]) for d in dims]
        if not normalise_first:
            sides = [(normalize(i, dim=-1), normalize(t, dim=-1)) for i, t in sides]
        return [(i, t, model.scale()) for i, t in sides]

    return forward


def matryoshka(setup: Setup, *, normalise_first: bool = False, weights: tuple[float, ...] = (1.0, 1.0, 1.0)) -> None:
    """Train on prefixes of 32, 16 and 8 dims; with ``normalise_first`` normalise before slicing."""
    dims = (32, 16, 8)
    setup.alter.append(lambda model: setattr(model, "forward", prefixes(model, dims, normalise_first=normalise_first)))

    def forward(model: nn.Module, batch: Pairs, setup: Setup) -> Tensor:
        losses = [setup.loss(*sides) for sides in model(batch.images, batch.tokens)]
        return torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).sum() / 3

    setup.forward = forward
    setup.embed = lambda model, pairs: (*model(pairs.images, pairs.tokens)[0][:2], 1.0)


@cases.fault("EG702", fast=True)
def normalised_before_slicing(setup: Setup) -> None:
    """Prefixes are cut from the normalised embedding."""
    matryoshka(setup, normalise_first=True)


@cases.fault("EG701")
def prefix_without_weight(setup: Setup) -> None:
    """The losses of the prefixes have weight zero."""
    matryoshka(setup, weights=(3.0, 0.0, 0.0))
