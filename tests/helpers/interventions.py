"""Interventions in the process of a test, which go when it is over, and a small training to make them in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.utils import clip_grad
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.replaying.interventions import attach_all
from edgeglass_diag.replaying.interventions.functions import put_all_back
from edgeglass_diag.replaying.interventions.live import LiveTraining
from edgeglass_diag.replaying.interventions.means import Means

STEPS = 6


@contextmanager
def placed(name: str, value: float | None = None, site: str = "") -> Iterator[Means]:
    """Put one intervention in place within a block."""
    with placed_all(Intervention(name, value, site)) as (means,):
        yield means


@contextmanager
def placed_all(*wanted: Intervention) -> Iterator[Sequence[Means]]:
    """Put interventions in place within a block."""
    hooks = [(each, dict(each)) for each in (_global_optimizer_pre_hooks, _global_optimizer_post_hooks)]
    names = ("_clip_grads_with_norm_", "clip_grads_with_norm_", "clip_grad_value_")
    functions = [(owner, n, vars(owner)[n]) for owner in (clip_grad, nn.utils) for n in names if n in vars(owner)]
    functions.append((GradScaler, "unscale_", GradScaler.unscale_))
    made = attach_all(wanted)
    try:
        yield made
    finally:
        assert isinstance(made[0].training, LiveTraining)
        made[0].training.remove()
        put_all_back()
        for own, before in hooks:
            own.clear()
            own.update(before)
        for owner, n, function in functions:
            setattr(owner, n, function)


class Reader(nn.Module):
    """Latents that are projected, normed and read by a head; six classes."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(4, 6))
        self.proj = nn.Linear(6, 8)
        self.norm = nn.LayerNorm(8)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(8, 6)
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, 6) for inputs (B, 6)."""
        read = F.softmax(x @ self.latents.T, -1) @ self.latents
        return self.scale.exp() * self.head(self.drop(self.norm(self.proj(x + read))))


def batches(steps: int = STEPS) -> Sequence[tuple[Tensor, Tensor]]:
    """Return inputs (16, 6) and their labels."""
    drawn = torch.Generator().manual_seed(5)
    inputs = [torch.randn(16, 6, generator=drawn) for _ in range(steps)]
    return [(x, x.argmax(-1)) for x in inputs]


def train(
    optimizer_of: Callable[[Reader], Any],
    *,
    prepare: Callable[[Reader], object] = lambda _: None,
    schedule: Callable[[Any], Any] | None = None,
    before_step: Callable[[Reader], object] = lambda _: None,
    steps: int = STEPS,
    seed: int = 0,
) -> list[Tensor]:
    """Return the losses of a training, its parameters at the end, and a number that is drawn then."""
    torch.manual_seed(seed)
    model = Reader()
    prepare(model)
    optimizer = optimizer_of(model)
    scheduler = schedule(optimizer) if schedule else None
    losses = []
    for inputs, labels in batches(steps):
        model.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        before_step(model)
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        losses.append(loss.detach())
    return [*losses, *(p.detach().clone() for p in model.parameters()), torch.rand(1)]


def same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    """Return whether two trainings are the same bit by bit."""
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
