"""A small training with replaceable parts, which faults and healthy variants change."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import AdamW, Optimizer

from edgeglass_diag.measures.ranking import hits
from edgeglass_diag.measures.retrieval import place_pairs
from edgeglass_models.faults.model import TinyDual
from edgeglass_models.faults.scenes import Pairs, draw_pairs

KS = (1, 5, 10)
Log = Callable[[Mapping[str, float], int], None]
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def clip_loss(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """Return the symmetric cross-entropy of unit embeddings (B, D) in nats."""
    logits = scale * image @ text.T
    labels = torch.arange(len(logits))
    return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2


def decayed_matrices(model: nn.Module, setup: Setup) -> Optimizer:
    """Return AdamW; biases, norms and the scale are not decayed."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": setup.weight_decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    return AdamW([group for group in groups if group["params"]], lr=setup.lr, betas=(0.9, 0.98))


def cosine(setup: Setup, step: int) -> float:
    """Return the share of the peak learning rate: linear warm-up, then cosine decay to zero at the horizon."""
    if step < setup.warmup:
        return (step + 1) / setup.warmup
    progress = (step - setup.warmup) / max(1, (setup.horizon or setup.steps) - setup.warmup)
    return 0.5 * (1 + math.cos(math.pi * progress))


def fresh_pairs(setup: Setup, step: int) -> Pairs:
    """Return new pairs at every step."""
    return draw_pairs(setup.batch, setup.seed * 1_000_003 + step)


def unseen_pairs(setup: Setup) -> Pairs:
    """Return 256 pairs that training does not use."""
    return draw_pairs(256, 77_000_000 + setup.seed)


def forward_loss(model: nn.Module, batch: Pairs, setup: Setup) -> Tensor:
    """Return the loss of one batch."""
    return setup.loss(*model(batch.images, batch.tokens))


def embed_pairs(model: nn.Module, pairs: Pairs) -> tuple[Tensor, Tensor, float]:
    """Return the model's embeddings of both sides, and its logit scale."""
    image, text, scale = model(pairs.images, pairs.tokens)
    return image, text, float(scale)


def recalls(image: Tensor, text: Tensor) -> dict[str, float]:
    """Return R@1/5/10 of both directions; NaN if an embedding is not finite."""
    ways = ("i2t", "t2i")
    if not (image.isfinite().all() and text.isfinite().all()):
        return {f"{way}/R@{k}": math.nan for way in ways for k in KS}
    placed = zip(ways, place_pairs(image, text), strict=True)
    return {f"{way}/R@{k}": float(hits(places, k).mean()) for way, places in placed for k in KS}


def evaluate(model: nn.Module, setup: Setup) -> dict[str, float]:
    """Return recalls and loss on unseen pairs, in evaluation mode."""
    model.train(setup.evaluate_in_train_mode)
    pairs = setup.held_out(setup)
    with torch.no_grad():
        image, text, _ = setup.embed(model, pairs)
        loss = setup.forward(model, pairs[: setup.batch], setup)
    model.train()
    return {**setup.recalls(image.float(), text.float()), "n": float(len(pairs)), "val/loss": float(loss)}


def update(model: nn.Module, optimizer: Optimizer, setup: Setup, step: int) -> None:
    """Take one optimizer step: forward, backward, clip, step."""
    if setup.zero_grad:
        optimizer.zero_grad()
    for _ in range(setup.accumulate):
        batch = setup.batches(setup, step)
        with torch.autocast("cpu", setup.autocast or torch.bfloat16, enabled=setup.autocast is not None):
            loss = setup.forward(model, batch, setup)
        torch.autograd.backward(loss / setup.accumulate)
    if setup.clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), setup.clip)
    optimizer.step()


@dataclass
class Setup:
    """Settings and functions of one training; functions get the setup as an argument.

    Attributes:
        alter: functions applied to the model after it is built, before the optimizer is made.
        each_step: functions called with (model, step) before each step.
    """

    seed: int
    steps: int = 120
    batch: int = 64
    lr: float = 2e-3
    warmup: int = 10
    horizon: int | None = None
    weight_decay: float = 0.01
    clip: float | None = 1.0
    accumulate: int = 1
    autocast: torch.dtype | None = None
    zero_grad: bool = True
    evaluate_every: int = 40
    evaluate_in_train_mode: bool = False
    build: Callable[[Setup], nn.Module] = lambda setup: TinyDual()
    alter: list[Callable[[nn.Module], object]] = field(default_factory=list)
    each_step: list[Callable[[nn.Module, int], object]] = field(default_factory=list)
    batches: Callable[[Setup, int], Pairs] = fresh_pairs
    held_out: Callable[[Setup], Pairs] = unseen_pairs
    loss: Loss = clip_loss
    forward: Callable[[nn.Module, Pairs, Setup], Tensor] = forward_loss
    embed: Callable[[nn.Module, Pairs], tuple[Tensor, Tensor, float]] = embed_pairs
    recalls: Callable[[Tensor, Tensor], dict[str, float]] = recalls
    optimizer: Callable[[nn.Module, Setup], Optimizer] = decayed_matrices
    schedule: Callable[[Setup, int], float] = cosine
    update: Callable[[nn.Module, Optimizer, Setup, int], None] = update


def train(setup: Setup, log: Log) -> dict[str, float]:
    """Train and return the metrics of the last evaluation; ``log`` is called with (metrics, step) of each."""
    torch.manual_seed(setup.seed)
    model = setup.build(setup)
    for alter in setup.alter:
        alter(model)
    optimizer = setup.optimizer(model, setup)
    peaks = [group["lr"] for group in optimizer.param_groups]
    metrics: dict[str, float] = {}
    for step in range(setup.steps):
        model.train()
        for change in setup.each_step:
            change(model, step)
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * setup.schedule(setup, step)
        setup.update(model, optimizer, setup, step)
        if (step + 1) % setup.evaluate_every == 0 or step + 1 == setup.steps:
            metrics = evaluate(model, setup)
            log(metrics, step)
    return metrics
