"""Faults of set-up and initialisation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from edgeglass_models.faults.case import Cases
from edgeglass_models.faults.training import Setup

cases = Cases()


def _under_no_grad(name: str) -> Any:
    def wrap(model: Any) -> None:
        setattr(model, name, NoGrad(getattr(model, name)))

    return wrap


def _optimizer_without(prefix: str) -> Any:
    def optimizer(model: nn.Module, setup: Setup) -> Optimizer:
        held = [p for name, p in model.named_parameters() if not name.startswith(prefix) and p.requires_grad]
        return AdamW(held, lr=setup.lr, weight_decay=setup.weight_decay)

    return optimizer


class NoGrad(nn.Module):
    """Runs a module without recording gradients."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the module, without a gradient."""
        result: Tensor = self.inner(x)
        return result


@cases.fault("EG003", at=("text_proj",), fast=True)
def head_outside_the_optimizer(setup: Setup) -> None:
    """The projection of the texts is in no optimizer."""
    setup.optimizer = _optimizer_without("text_proj")


@cases.fault("EG003", at=("visual",))
def tower_outside_the_optimizer(setup: Setup) -> None:
    """A tower that starts at random is in no optimizer."""
    setup.optimizer = _optimizer_without("visual")


@cases.fault("EG005", at=("image_proj",))
def no_grad_around_the_head(setup: Setup) -> None:
    """A trainable projection runs under no_grad."""
    setup.alter.append(_under_no_grad("image_proj"))


@cases.fault("EG005", at=("textual",))
def no_grad_around_a_tower(setup: Setup) -> None:
    """A trainable tower runs under no_grad."""
    setup.alter.append(_under_no_grad("textual"))


@cases.fault("EG005", at=("visual",))
def detached_features(setup: Setup) -> None:
    """The features are detached before the projection, so that the tower gets no gradient."""

    def detach(model: Any) -> None:
        model.encode = lambda images, tokens: (
            model.image_proj(model.visual(images).detach()),
            model.text_proj(model.textual(tokens)),
        )

    setup.alter.append(detach)


@cases.fault("EG004", at=("visual",))
def random_tower_frozen(setup: Setup) -> None:
    """A tower that was never trained is frozen."""
    setup.alter.append(lambda m: m.visual.requires_grad_(False))


@cases.fault("EG004", at=("text_proj",))
def head_frozen(setup: Setup) -> None:
    """A new projection is frozen by mistake."""
    setup.alter.append(lambda m: m.text_proj.requires_grad_(False))


@cases.fault("EG006", at=("visual.blocks.1",))
def module_unused(setup: Setup) -> None:
    """A block is built and held by the optimizer, but never called."""

    def skip(model: Any) -> None:
        vision = model.visual

        def forward(images: Tensor) -> Tensor:
            x = vision.blocks[0](vision.patches(images).flatten(2).mT + vision.position)
            pooled: Tensor = vision.norm(x.mean(dim=1))
            return pooled

        vision.forward = forward

    setup.alter.append(skip)


@cases.fault("EG007", at=("visual.blocks", "textual.blocks"))
def two_zero_layers(setup: Setup) -> None:
    """Both layers of an MLP start at zero: neither ever gets a gradient."""

    def zero(model: Any) -> None:
        for layer in (model.visual.blocks[0].mlp[0], model.visual.blocks[0].mlp[2]):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    setup.alter.append(zero)


@cases.fault("EG002", at=("visual.blocks.0.mlp.0",))
def identical_units(setup: Setup) -> None:
    """All units of a layer, in and out, start alike: their gradients are alike as well."""

    def alike(model: Any) -> None:
        first, last = model.visual.blocks[0].mlp[0], model.visual.blocks[0].mlp[2]
        nn.init.constant_(first.weight, 0.05)
        nn.init.zeros_(first.bias)
        nn.init.constant_(last.weight, 0.05)

    setup.alter.append(alike)


@cases.fault("EG205", "EG007", "EG103", "EG206", "EG301", "EG201")
def enormous_init(setup: Setup) -> None:
    """All matrices are drawn fifty times too large."""

    def enlarge(model: nn.Module) -> None:
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.data.mul_(50.0)

    setup.alter.append(enlarge)
