"""Trainings as people compile them, and how often torch.compile works on each, watched and unwatched."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch._dynamo import utils as dynamo_utils
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from edgeglass_diag.record import Recorder
from edgeglass_diag.records import Window

WIDTH = 8
STEPS = 4
EVERY = 2
Step = Callable[[Tensor, Tensor], Tensor]


class Block(nn.Module):
    """Attention by the fused function."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        return x + F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class TorchBlock(nn.Module):
    """Attention by torch's own module."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attend(x, x, x, need_weights=False)[0]


class Tower(nn.Module):
    def __init__(self, block: type[nn.Module]) -> None:
        super().__init__()
        self.block, self.head = block(), nn.Linear(WIDTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.head(self.block(x).mean(1)), dim=-1)


class Clip(nn.Module):
    """Two towers and a learned scale."""

    def __init__(self, block: type[nn.Module]) -> None:
        super().__init__()
        self.image, self.text = Tower(block), Tower(block)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        return self.scale.exp() * self.image(images) @ self.text(texts).T


def clip_loss(logits: Tensor) -> Tensor:
    labels = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def _plain(model: nn.Module, optimizer: torch.optim.Optimizer, loss_of: Callable[[Tensor], Tensor] = clip_loss) -> Step:
    def step(images: Tensor, texts: Tensor) -> Tensor:
        loss = loss_of(model(images, texts))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


def module(model, optimizer, compiled):
    return _plain(compiled(model), optimizer)


def fullgraph(model, optimizer, compiled):
    return _plain(compiled(model, fullgraph=True), optimizer)


def submodule(model, optimizer, compiled):
    model.image = compiled(model.image)
    return _plain(model, optimizer)


def blocks(model, optimizer, compiled):
    for tower in (model.image, model.text):
        tower.block = compiled(tower.block)
    return _plain(model, optimizer)


def nested(model, optimizer, compiled):
    model.image = compiled(model.image)
    return _plain(compiled(model), optimizer)


def module_compile(model, optimizer, compiled):
    model.compile(**compiled.keywords)
    return _plain(model, optimizer)


def towers_compile(model, optimizer, compiled):
    model.image.compile(**compiled.keywords)
    model.text.compile(**compiled.keywords)
    return _plain(model, optimizer)


def forward_method(model, optimizer, compiled):
    model.image.forward = compiled(model.image.forward)
    return _plain(model, optimizer)


def loss_function(model, optimizer, compiled):
    return _plain(model, optimizer, compiled(clip_loss))


def model_and_loss(model, optimizer, compiled):
    function = compiled(lambda images, texts: clip_loss(model(images, texts)), fullgraph=True)

    def step(images, texts):
        loss = function(images, texts)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


def forward_and_backward(model, optimizer, compiled):
    @compiled
    def gradients(images, texts):
        loss = clip_loss(model(images, texts))
        loss.backward()
        return loss.detach()

    def step(images, texts):
        loss = gradients(images, texts)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return step


def whole_step(model, optimizer, compiled):
    return compiled(_plain(model, optimizer))


def optimizer_step(model, optimizer, compiled):
    optimizer.step = compiled(optimizer.step)
    return _plain(model, optimizer)


def checkpointed(model, optimizer, compiled):
    inner = compiled(model.image.block)
    model.image.block = nn.Identity()
    model.image.block.forward = partial(checkpoint, inner, use_reentrant=False)
    return _plain(model, optimizer)


def broken(model, optimizer, compiled):
    def printing(logits):
        torch._dynamo.graph_break()
        return clip_loss(logits)

    return _plain(model, optimizer, compiled(printing))


PROGRAMS = (
    module, fullgraph, submodule, blocks, nested, module_compile, towers_compile, forward_method, loss_function,
    model_and_loss, forward_and_backward, whole_step, optimizer_step, checkpointed, broken,
)  # fmt: skip
BLOCKS = (Block, TorchBlock)
WHEN = ("before", "inside", "warm")
"""The program is compiled before the watch begins, or inside; ``warm`` has taken a step before it begins."""


@dataclass
class Counted:
    """What a training computed and what torch.compile did for it.

    Attributes:
        numbers: losses and final weights.
        breaks: graph breaks.
        compilations: names of the compiled frames, with the reason where they were compiled anew.
        graphs: graphs that the backend was given; None of a backend of torch.
        windows: what was recorded.
    """

    numbers: list[Tensor]
    breaks: int
    compilations: list[str]
    graphs: int | None
    windows: list[Window] = field(default_factory=list)

    @property
    def work(self) -> tuple[int, int, int | None]:
        """How often torch.compile worked: breaks, compiled frames, graphs."""
        return self.breaks, len(self.compilations), self.graphs


def train(program, *, block=Block, watched: bool, when: str = "before", backend: str | None = None, device="cpu"):
    """Return the ``Counted`` of a training; without a backend graphs run as they are."""
    torch._dynamo.reset()
    dynamo_utils.counters.clear()
    dynamo_utils.clear_compilation_metrics()
    graphs: list[object] = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.manual_seed(0)
    model = Clip(block).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    make = partial(program, model, optimizer, partial(torch.compile, backend=backend or count))
    data = torch.Generator().manual_seed(1)
    pairs = [[torch.randn(6, 5, WIDTH, generator=data).to(device) for _ in range(2)] for _ in range(STEPS + 1)]
    windows: list[Window] = []
    watch = Recorder(lambda step: step % EVERY == 0, lambda window: windows.append(window.resolve()))
    numbers = []
    step = None if when == "inside" else make()
    if when == "warm":
        numbers.append(step(*pairs.pop()))
    with watch if watched else nullcontext():
        step = make() if step is None else step
        numbers += [step(*pair).cpu() for pair in pairs]
    numbers += [parameter.detach().cpu().clone() for parameter in model.parameters()]
    frames = [f"{each.co_name} {each.recompile_reason or ''}" for each in dynamo_utils.get_compilation_metrics()]
    broken_graphs = sum(dynamo_utils.counters["graph_break"].values())
    return Counted(numbers, broken_graphs, frames, len(graphs) if backend is None else None, windows)
