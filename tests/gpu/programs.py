"""A CLIP-style training in the ways in which people run it on an accelerator, on whatever device there is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Step = Callable[[], object]
BATCH = 8
WIDTH = 32
SEED = 7


def device() -> torch.device:
    """Return the device of ``EDGEGLASS_DEVICE``, else CUDA where there is one, else the CPU."""
    return torch.device(os.environ.get("EDGEGLASS_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu"))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (4, -1)).transpose(1, 2) for part in self.qkv(self.norm(x)).chunk(3, -1))
        return x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Clip(nn.Module):
    """Patches by a convolution and a BatchNorm, attention, dropout; captions by an embedding and torch's attention."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.patch_norm = nn.Conv2d(3, WIDTH, 4, stride=4), nn.BatchNorm2d(WIDTH)
        self.image, self.drop = nn.Sequential(Attention(), Attention()), nn.Dropout(0.1)
        self.words = nn.Embedding(50, WIDTH)
        self.text = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, batch_first=True)
        self.to_image, self.to_text = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.scale = nn.Parameter(torch.tensor(2.66))

    def forward(self, pixels: Tensor, tokens: Tensor) -> Tensor:
        patches = self.patch_norm(self.patches(pixels)).flatten(2).mT
        image = self.to_image(self.drop(self.image(patches)).mean(1))
        text = self.to_text(self.text(self.words(tokens), src_key_padding_mask=tokens == 0).mean(1))
        return self.scale.exp() * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T


def clip_loss(logits: Tensor) -> Tensor:
    labels = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def batches(on: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield pixels (B, 3, 16, 16) and tokens (B, 6), in which 0 is padding, without end."""
    drawn = torch.Generator().manual_seed(SEED)
    while True:
        pixels = torch.randn(BATCH, 3, 16, 16, generator=drawn)
        tokens = torch.randint(1, 50, (BATCH, 6), generator=drawn)
        tokens[: BATCH // 2, 4:] = 0
        yield pixels.to(on, non_blocking=True), tokens.to(on, non_blocking=True)


@dataclass
class Training:
    """A model, its optimizer, and a function that takes one step and returns the loss."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    step: Callable[[], Tensor]

    @property
    def numbers(self) -> list[Tensor]:
        """Weights, buffers and the optimizer's state, on the host."""
        state = [v for each in self.optimizer.state.values() for v in each.values() if isinstance(v, Tensor)]
        held = [*self.model.parameters(), *self.model.buffers(), *state]
        return [tensor.detach().cpu().clone() for tensor in held]


def training(
    on: torch.device,
    *,
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] = torch.optim.AdamW,
    autocast: torch.dtype | None = None,
    scaled: bool = False,
    memory_format: torch.memory_format = torch.contiguous_format,
    compiled: str | None = None,
) -> Training:
    """Return a training from seed.

    Args:
        on: device.
        optimizer: makes it.
        autocast: dtype of mixed precision, none where None.
        scaled: whether a GradScaler scales the loss.
        memory_format: of model and pixels.
        compiled: backend that compiles the model, none where None.
    """
    torch.manual_seed(SEED)
    model = Clip().to(on, memory_format=memory_format)
    made = optimizer(list(model.parameters()))
    called = model if compiled is None else torch.compile(model, backend=compiled)
    scaler = torch.amp.GradScaler(on.type, enabled=scaled, init_scale=2.0**22, backoff_factor=2.0**-6)
    data = batches(on)

    def step() -> Tensor:
        pixels, tokens = next(data)
        with _autocast(on, autocast):
            loss = clip_loss(called(pixels.to(memory_format=memory_format), tokens))
        scaler.scale(loss).backward()
        scaler.unscale_(made)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(made)
        scaler.update()
        made.zero_grad()
        return loss.detach()

    return Training(model, made, step)


def _autocast(on: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    return nullcontext() if dtype is None else torch.autocast(on.type, dtype)


def graphed(on: torch.device, errors: str = "global") -> Training:
    """Return a training whose forward and backward pass are one CUDA graph; the optimizer steps outside of it."""
    torch.manual_seed(SEED)
    model = Clip().to(on)
    made = torch.optim.AdamW(model.parameters())
    data = batches(on)
    pixels, tokens = (tensor.clone() for tensor in next(data))
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            made.zero_grad(set_to_none=True)
            clip_loss(model(pixels, tokens)).backward()
    torch.cuda.current_stream().wait_stream(side)
    made.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode=errors):
        loss = clip_loss(model(pixels, tokens))
        loss.backward()

    def step() -> Tensor:
        for held, new in zip((pixels, tokens), next(data), strict=True):
            held.copy_(new, non_blocking=True)
        graph.replay()
        made.step()
        return loss.detach().clone()

    return Training(model, made, step)


def backend(on: torch.device) -> str:
    """Return the backend of torch.compile: inductor where it can build, else the tracing part of it alone."""
    if on.type == "cuda":
        return "inductor"
    return "inductor" if shutil.which(os.environ.get("CXX", "g++")) else "aot_eager"
