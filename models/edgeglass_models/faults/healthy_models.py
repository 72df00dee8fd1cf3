"""Healthy variants of the model, in which nothing is to be found: sizes, inits, norms, frozen and loaded towers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from edgeglass_models.faults.case import Cases
from edgeglass_models.faults.model import TinyDual
from edgeglass_models.faults.precision import matryoshka
from edgeglass_models.faults.scenes import Pairs, draw_pairs
from edgeglass_models.faults.training import Setup

cases = Cases()


def _tiny(**options: Any) -> Any:
    return lambda setup: TinyDual(**options)


@cases.healthy(fast=True)
def plain(setup: Setup) -> None:
    """Nothing is changed."""


@cases.healthy()
def narrow(setup: Setup) -> None:
    """Towers of width 16."""
    setup.build = _tiny(width=16, embed=16)


@cases.healthy()
def wide(setup: Setup) -> None:
    """Towers of width 96."""
    setup.build = _tiny(width=96, embed=64)
    setup.lr = 1e-3


@cases.healthy()
def deep(setup: Setup) -> None:
    """Six blocks in each tower."""
    setup.build = _tiny(depth=6)
    setup.lr = 1e-3


@cases.healthy()
def shallow(setup: Setup) -> None:
    """One block in each tower."""
    setup.build = _tiny(depth=1)


@cases.healthy()
def one_head(setup: Setup) -> None:
    """A single head."""
    setup.build = _tiny(heads=1)


@cases.healthy()
def many_heads(setup: Setup) -> None:
    """Sixteen heads of width two."""
    setup.build = _tiny(heads=16)


@cases.healthy()
def dropout(setup: Setup) -> None:
    """Dropout of a tenth, off in the evaluation."""
    setup.build = _tiny(dropout=0.1)


@cases.healthy()
def matryoshka_on(setup: Setup) -> None:
    """Losses on three prefixes."""
    matryoshka(setup)


@cases.healthy(fast=True)
def frozen_tower(setup: Setup) -> None:
    """A tower with loaded weights is frozen, and in evaluation mode."""

    def freeze(model: Any) -> None:
        model.visual.load_state_dict(pretrained(setup).visual.state_dict())
        model.visual.requires_grad_(False)

    setup.alter.append(freeze)
    setup.each_step.append(_visual_in_evaluation_mode)


def _visual_in_evaluation_mode(model: Any, step: int) -> None:
    model.visual.eval()


_PRETRAINED: dict[int, TinyDual] = {}


def pretrained(setup: Setup) -> TinyDual:
    """A model after 120 steps."""
    if setup.seed not in _PRETRAINED:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(setup.seed + 1)
            model = TinyDual()
            _learn(model, setup)
            _PRETRAINED[setup.seed] = model
    return _PRETRAINED[setup.seed]


def _learn(model: TinyDual, setup: Setup) -> None:
    """Plain steps by hand, without an optimizer, so that no step of a watched run is counted."""
    momentum = {p: torch.zeros_like(p) for p in model.parameters()}
    for step in range(120):
        pairs = draw_pairs(64, 5_000_000 + step)
        loss = setup.loss(*model(pairs.images, pairs.tokens))
        gradients = torch.autograd.grad(loss, list(momentum))
        clip = 1.0 / max(1.0, float(torch.stack([g.norm() for g in gradients]).norm()))
        for parameter, gradient in zip(momentum, gradients, strict=True):
            momentum[parameter].mul_(0.9).add_(gradient, alpha=clip)
            parameter.data.add_(momentum[parameter], alpha=-0.3 * min(1.0, step / 10))


@cases.healthy()
def warm_start(setup: Setup) -> None:
    """All weights are loaded from a trained model."""
    setup.alter.append(lambda model: model.load_state_dict(pretrained(setup).state_dict()))
    setup.lr = 3e-4


@cases.healthy()
def small_init_behind_norms(setup: Setup) -> None:
    """All matrices are drawn with std 0.02."""

    def draw(model: nn.Module) -> None:
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                nn.init.normal_(parameter, std=0.02)

    setup.alter.append(draw)


@cases.healthy()
def xavier(setup: Setup) -> None:
    """Xavier for all linear layers."""
    setup.alter.append(
        lambda model: [nn.init.xavier_uniform_(m.weight) for m in model.modules() if isinstance(m, nn.Linear)]
    )


@cases.healthy()
def orthogonal(setup: Setup) -> None:
    """Orthogonal matrices for all linear layers."""
    setup.alter.append(
        lambda model: [nn.init.orthogonal_(m.weight) for m in model.modules() if isinstance(m, nn.Linear)]
    )


@cases.healthy()
def residual_branches_at_zero(setup: Setup) -> None:
    """The last layer of each branch starts at zero."""

    def zero(model: Any) -> None:
        for block in (*model.visual.blocks, *model.textual.blocks):
            nn.init.zeros_(block.mlp[2].weight)
            nn.init.zeros_(block.attention.out.weight)

    setup.alter.append(zero)


@cases.healthy()
def rms_norm(setup: Setup) -> None:
    """RMSNorm for LayerNorm."""
    setup.build = _tiny(norm=nn.RMSNorm)


@cases.healthy()
def gathered_mean_pooling(setup: Setup) -> None:
    """Texts are pooled by their mean, and no mask is used."""

    def pool(model: Any) -> None:
        text = model.textual

        def forward(tokens: Tensor) -> Tensor:
            x = text.words(tokens) + text.position
            for block in text.blocks:
                x = block(x)
            pooled: Tensor = text.norm(x.mean(1))
            return pooled

        text.forward = forward

    setup.alter.append(pool)


@cases.healthy()
def dot_product_without_norm(setup: Setup) -> None:
    """Plain dot products as in dense passage retrieval: no norm, no scale."""

    def plain_products(model: Any) -> None:
        model.normalize = lambda x: x

    setup.alter.append(plain_products)
    setup.loss = lambda image, text, scale: cross_entropy(image @ text.T, torch.arange(len(image)))
    setup.embed = lambda model, pairs: _unit(model, pairs)


def _unit(model: nn.Module, pairs: Pairs) -> tuple[Tensor, Tensor, float]:
    image, text, scale = model(pairs.images, pairs.tokens)
    return normalize(image, dim=-1), normalize(text, dim=-1), float(scale)
