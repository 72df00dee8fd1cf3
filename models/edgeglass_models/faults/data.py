"""Faults of the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from edgeglass_models.faults.case import Cases
from edgeglass_models.faults.scenes import BOS, EOS, PAD, Pairs
from edgeglass_models.faults.training import Setup, fresh_pairs, unseen_pairs

cases = Cases()


def changed(setup: Setup, images: Callable[[Tensor], Tensor] = lambda x: x, tokens: Any = lambda x: x) -> None:
    """Pass the batches through functions."""

    def batches(setup: Setup, step: int) -> Pairs:
        pairs = fresh_pairs(setup, step)
        return Pairs(images(pairs.images), tokens(pairs.tokens))

    setup.batches = batches


@cases.fault("EG503", "EG401", fast=True)
def captions_mispaired(setup: Setup) -> None:
    """The captions belong to other images."""
    changed(setup, tokens=lambda tokens: tokens.roll(1, 0))


@cases.fault("EG503", "EG401")
def captions_drawn_anew(setup: Setup) -> None:
    """Images and captions are shuffled apart by two loaders."""

    def batches(setup: Setup, step: int) -> Pairs:
        return Pairs(fresh_pairs(setup, step).images, fresh_pairs(setup, step + 10**6).tokens)

    setup.batches = batches


@cases.fault("EG501", acts=1)
def the_same_batch(setup: Setup) -> None:
    """Every step sees the first batch."""
    setup.batches = lambda setup, step: fresh_pairs(setup, 0)


@cases.fault("EG501", acts=12)
def the_same_order_in_every_epoch(setup: Setup) -> None:
    """An epoch of twelve batches is never shuffled."""
    setup.batches = lambda setup, step: fresh_pairs(setup, step % 12)


@cases.fault("EG502")
def duplicate_captions(setup: Setup) -> None:
    """Every caption occurs four times in its batch, with different images."""
    changed(setup, tokens=lambda tokens: tokens[: len(tokens) // 4].repeat(4, 1))


@cases.fault("EG502")
def duplicate_pairs(setup: Setup) -> None:
    """Half of the pairs of a batch are copies of the others."""

    def batches(setup: Setup, step: int) -> Pairs:
        pairs = fresh_pairs(setup, step)
        return pairs[torch.arange(len(pairs)) % (len(pairs) // 2)]

    setup.batches = batches


@cases.fault("EG504")
def images_of_bytes(setup: Setup) -> None:
    """Images reach the model as 0 to 255."""
    changed(setup, images=lambda images: (images.clamp(-1, 1) + 1) * 127.5)


@cases.fault("EG504")
def images_divided_twice(setup: Setup) -> None:
    """Images are divided by 255 twice."""
    changed(setup, images=lambda images: (images.clamp(-1, 1) + 1) / 2 / 255)


@cases.fault("EG505")
def texts_cut(setup: Setup) -> None:
    """Texts are cut before their end, and EOS is lost for the longer ones."""

    def cut(tokens: Tensor) -> Tensor:
        return tokens[:, :5]

    changed(setup, tokens=cut)
    setup.held_out = lambda setup: Pairs(unseen_pairs(setup).images, cut(unseen_pairs(setup).tokens))
    setup.alter.append(lambda model: _shorten(model, 5))


def _shorten(model: Any, length: int) -> None:
    model.textual.position = torch.nn.Parameter(model.textual.position.data[:length].clone())


@cases.fault("EG108", "EG301", "EG505")
def eos_lost(setup: Setup) -> None:
    """The tokenizer adds no EOS: the pooled token is BOS for every text, which sees only itself."""

    def lose(tokens: Tensor) -> Tensor:
        return torch.where(tokens == EOS, PAD, tokens)

    changed(setup, tokens=lose)

    def causal(model: Any) -> None:
        model.textual.mask = lambda tokens: tokens == BOS

    setup.alter.append(causal)


@cases.fault("EG507", "EG301")
def one_image_for_all(setup: Setup) -> None:
    """The loader returns the same image for every row."""
    changed(setup, images=lambda images: images[:1].expand_as(images).contiguous())


@cases.fault("EG507", "EG301")
def empty_texts(setup: Setup) -> None:
    """All texts are empty."""

    def empty(tokens: Tensor) -> Tensor:
        result = torch.full_like(tokens, PAD)
        result[:, 0], result[:, 1] = BOS, EOS
        return result

    changed(setup, tokens=empty)


@cases.fault("EG301", "EG507")
def image_ignored(setup: Setup) -> None:
    """The image side sees only a black picture's worth: its input is multiplied by zero."""

    def ignore(model: Any) -> None:
        visual = model.visual
        forward = visual.forward
        visual.forward = lambda images: forward(images * 0)

    setup.alter.append(ignore)


@cases.fault("EG509", acts=30)
def images_with_nan(setup: Setup) -> None:
    """From step 30 on a pixel of a batch is NaN."""

    def batches(setup: Setup, step: int) -> Pairs:
        pairs = fresh_pairs(setup, step)
        if step >= 30:
            pairs.images[0, 0, 0, 0] = torch.nan
        return pairs

    setup.batches = batches
