"""Faults of attention and of the towers that hold it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgeglass_models.faults.case import Cases
from edgeglass_models.faults.scenes import PAD
from edgeglass_models.faults.training import Setup

cases = Cases()


@cases.fault("EG105", at=("textual",), fast=True)
def mask_inverted(setup: Setup) -> None:
    """The mask lets padding through and hides the words."""

    def invert(model: Any) -> None:
        model.textual.mask = lambda tokens: tokens == PAD

    setup.alter.append(invert)


@cases.fault("EG106", "EG801", at=("textual",))
def rows_fully_masked(setup: Setup) -> None:
    """Some texts have no valid key."""

    def hide(model: Any) -> None:
        model.textual.mask = lambda tokens: (tokens != PAD) & (torch.arange(len(tokens)) % 8 > 0).unsqueeze(1)

    setup.alter.append(hide)
    setup.alter.append(_own_softmax)


def _own_softmax(model: Any) -> None:
    for block in model.textual.blocks:
        block.attention.forward = _Explicit(block.attention).forward


class _Explicit:
    """The same attention with a softmax of its own over masked logits, as before fused kernels."""

    def __init__(self, attention: Any) -> None:
        self.attention = attention

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        own = self.attention
        query, key, value = (
            part.unflatten(-1, (own.heads, -1)).transpose(1, 2) for part in own.to_qkv(x).chunk(3, dim=-1)
        )
        logits = query @ key.mT / query.shape[-1] ** 0.5
        if mask is not None:
            logits = logits.masked_fill(~mask[:, None, None, :], -torch.inf)
        merged: Tensor = own.out((logits.softmax(-1) @ value).transpose(1, 2).flatten(2))
        return merged


@cases.fault("EG103", "EG104", at=("visual", "textual"))
def attention_saturated(setup: Setup) -> None:
    """Attention logits are not divided by the root of the width, and a thousand times too large."""

    def sharpen(model: Any) -> None:
        for block in (*model.visual.blocks, *model.textual.blocks):
            block.attention.sharpness = 3000.0

    setup.alter.append(sharpen)


@cases.fault("EG104", at=("visual", "textual"))
def attention_logits_grow(setup: Setup) -> None:
    """Queries and keys grow at every step."""

    def grow(model: Any, step: int) -> None:
        for block in model.visual.blocks:
            block.attention.to_qkv.weight.data[:64] *= 1.12

    setup.each_step.append(grow)


@cases.fault("EG301", "EG302", at=("visual", "image_proj"))
def batch_statistics_over_samples(setup: Setup) -> None:
    """The tower's output is averaged over the batch instead of the tokens."""

    def average(model: Any) -> None:
        model.image_proj = nn.Sequential(model.image_proj, _MeanOverBatch())

    setup.alter.append(average)


class _MeanOverBatch(nn.Module):
    """The batch's mean for every sample."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(0, keepdim=True).expand_as(x) + 0 * x


@cases.fault("EG301", "EG302", "EG202")
def norms_missing(setup: Setup) -> None:
    """No norms, and a rate that needs them."""

    def strip(model: nn.Module) -> None:
        for module in list(model.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.LayerNorm):
                    setattr(module, name, nn.Identity())

    setup.alter.append(strip)
    setup.lr, setup.warmup = 0.1, 0


@cases.fault("EG605", at=("visual",))
def frozen_encoder_in_train_mode(setup: Setup) -> None:
    """A frozen, loaded tower keeps its dropout on."""

    def freeze(model: Any) -> None:
        model.visual.load_state_dict(model.visual.state_dict())
        model.visual.requires_grad_(False)
        for block in model.visual.blocks:
            block.mlp[3].p = 0.3

    setup.alter.append(freeze)
