"""The optimizer and its schedule: linear warm-up, then cosine decay to zero."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from edgeglass_models.recipes.settings import OptimSettings


def lr_factor(step: int, warmup_steps: int, horizon: int) -> float:
    """Return the share of the peak learning rate at ``step``: (step + 1) / warmup, then 0.5 (1 + cos(pi p)).

    p is the progress from the end of the warm-up to ``horizon``. After the horizon p exceeds 1 and the learning
    rate rises again.

    Example:
        >>> [round(lr_factor(step, 2, 10), 2) for step in (0, 1, 2, 6, 10, 14)]
        [0.5, 1.0, 1.0, 0.5, 0.0, 0.5]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, horizon - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * progress))


def make_optimizer(model: nn.Module, settings: OptimSettings, total_steps: int) -> tuple[Optimizer, LambdaLR]:
    """Return the optimizer of all trainable parameters and its schedule; biases, norms and the scale do not decay."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trainable if p.dim() < 2], "weight_decay": 0.0},
    ]
    held = [g for g in groups if g["params"]]
    optimizer: Optimizer
    if settings.name == "sgd":
        optimizer = SGD(held, lr=settings.lr, momentum=settings.betas[0])
    else:
        optimizer = AdamW(held, lr=settings.lr, betas=settings.betas)
    horizon = settings.horizon or total_steps
    return optimizer, LambdaLR(optimizer, lambda step: lr_factor(step, settings.warmup_steps, horizon))
