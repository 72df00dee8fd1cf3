"""What ``overhead.py`` compares: some models, their plain step, and the tools that watch it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TOOLS = {
    "off": "edgeglass-diag, off-window",
    "default": "edgeglass-diag, default cadence",
    "every": "edgeglass-diag, every window",
    "naive": "naive hooks, materialised attention",
    "wandb": 'wandb.watch(log="all", log_freq=1), offline',
    "torchlens": "torchlens.trace beside the step",
    "cockpit": "cockpit, full configuration",
}
MODELS = ("perceiver", "vit", "trainer", "small")
CADENCE = 10
LATE = 1_000_000
Step = Callable[[], object]


class Contrast(nn.Module):
    """An image model, a linear text side, logits of a CLIP loss."""

    def __init__(self, image: nn.Module, width: int) -> None:
        super().__init__()
        self.image, self.text = image, nn.Linear(512, width)
        self.log_scale = nn.Parameter(torch.tensor(2.66))

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        image, text = F.normalize(self.image(images), dim=-1), F.normalize(self.text(texts), dim=-1)
        return self.log_scale.exp() * image @ text.T


class Resampler(nn.Module):
    """Width 512, 4 layers, 64 latents, 8 heads."""

    def __init__(self) -> None:
        super().__init__()
        from edgeglass_models.perceiver import PerceiverResampler

        self.resampler = PerceiverResampler(512, latents=64, layers=4, heads=8)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.resampler(tokens).mean(1)


class Block(nn.Module):
    """Attention and perceptron behind norms, 4 heads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.act, self.down = nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        query, key, value = self.qkv(self.norm1(x)).view(batch, length, 3, 4, width // 4).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2)
        x = x + self.out(mixed.reshape(batch, length, width))
        return x + self.down(self.act(self.up(self.norm2(x))))


class Tower(nn.Module):
    """A few blocks of width 32, and the mean over what they give out."""

    def __init__(self, blocks: int, width: int = 32) -> None:
        super().__init__()
        self.inside, self.norm, self.head = nn.Linear(16, width), nn.LayerNorm(width), nn.Linear(width, width)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(blocks)))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.inside(tokens))).mean(1))


class Small(nn.Module):
    """Two towers, 51 modules in all, of which a step takes a few milliseconds on one core."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.text = Tower(3), Tower(2)
        self.log_scale = nn.Parameter(torch.tensor(2.66))

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        image, text = F.normalize(self.image(images), dim=-1), F.normalize(self.text(texts), dim=-1)
        return self.log_scale.exp() * image @ text.T


def build(name: str, device: str) -> tuple[nn.Module, torch.optim.Optimizer, tuple[Tensor, Tensor]]:
    """Model, optimizer and batch.

    Perceiver with 257 tokens and batch 32, ViT-B/16 with batch 4 (32 on a GPU), the CLIP model of transformers with
    towers of width 256 and 4 layers at batch 16, or two small towers with 8 tokens and batch 16.
    """
    torch.manual_seed(0)
    model: nn.Module
    if name == "small":
        model, images, texts = Small(), torch.randn(16, 8, 16), torch.randn(16, 8, 16)
        model.to(device)
        return model, torch.optim.AdamW(model.parameters(), lr=1e-4), (images.to(device), texts.to(device))
    if name == "trainer":
        from edgeglass_models.torchvision_operators import define_missing_operators

        define_missing_operators()
        from transformers import CLIPConfig, CLIPModel

        tower = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 4}
        text, vision = {**tower, "vocab_size": 1000}, {**tower, "image_size": 64, "patch_size": 8}
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=256)).to(device)
        batch = torch.randn(16, 3, 64, 64, device=device), torch.randint(0, 1000, (16, 32), device=device)
        return model, torch.optim.AdamW(model.parameters(), lr=1e-4), batch
    if name == "perceiver":
        model, images = Contrast(Resampler(), 512), torch.randn(32, 257, 512)
    else:
        from edgeglass_models.torchvision_operators import define_missing_operators

        define_missing_operators()
        import open_clip

        vit = open_clip.create_model("ViT-B-16").visual
        model, images = Contrast(vit, 512), torch.randn(4 if device == "cpu" else 32, 3, 224, 224)
    batch = images.to(device), torch.randn(len(images), 512).to(device)
    model.to(device)
    return model, torch.optim.AdamW(model.parameters(), lr=1e-4), batch


def plain_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor]) -> Step:
    if type(model).__name__ == "CLIPModel":
        return trainer_step(model, optimizer, batch)
    labels = torch.arange(len(batch[0]), device=batch[0].device)

    def step() -> Tensor:
        optimizer.zero_grad()
        logits = model(*batch)
        loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        loss.backward()
        optimizer.step()
        return loss

    return step


def trainer_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor]) -> Step:
    """What the loop of transformers' Trainer does in a step."""
    from transformers import Trainer, TrainingArguments

    images, texts = batch
    settings = TrainingArguments(tempfile.mkdtemp(), use_cpu=images.device.type == "cpu", report_to=[])
    trainer = Trainer(model, settings)
    trainer.current_gradient_accumulation_steps = 1  # which its loop sets
    inputs = {"pixel_values": images, "input_ids": texts, "return_loss": True}

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = trainer.training_step(model, dict(inputs))
        optimizer.step()
        return loss

    return step


@contextmanager
def watched(step: Step, every: int) -> Iterator[Step]:
    """The watch with its rules and its writer, long after the dense windows of the start."""
    from edgeglass_diag.watching import Watch

    with tempfile.TemporaryDirectory() as folder:
        watch = Watch(Path(folder) / "run", every=every)
        watch._recorder._clock.step = LATE
        with watch:
            yield step


@contextmanager
def naive(step: Step, model: nn.Module) -> Iterator[Step]:
    """What one writes in an evening: a hook on every module, float() at once, attention weights made for it."""
    log: list[float] = []

    def hook(module: nn.Module, args: object, output: object) -> None:
        if isinstance(output, Tensor):
            log.extend((float(output.mean()), float(output.std()), float(output.abs().max())))

    fused = F.scaled_dot_product_attention

    def materialised(q: Tensor, k: Tensor, v: Tensor, *args: object, **kwargs: object) -> Tensor:
        weights = (q.detach() @ k.detach().mT / q.shape[-1] ** 0.5).softmax(-1)
        log.extend((-(weights * (weights + 1e-12).log()).sum(-1)).mean((0, 2)).tolist())
        return fused(q, k, v, *args, **kwargs)  # type: ignore[arg-type]

    def with_gradients() -> None:
        step()
        log.extend(float(p.grad.norm()) for p in model.parameters() if p.grad is not None)

    with ExitStack() as stack:
        for module in model.modules():
            stack.callback(module.register_forward_hook(hook).remove)
        F.scaled_dot_product_attention = materialised
        stack.callback(setattr, F, "scaled_dot_product_attention", fused)
        yield with_gradients


@contextmanager
def wandb_watch(step: Step, model: nn.Module) -> Iterator[Step]:
    import wandb

    with tempfile.TemporaryDirectory() as folder:
        run = wandb.init(mode="offline", dir=folder, settings=wandb.Settings(silent=True))
        run.watch(model, log="all", log_freq=1)

        def logged() -> None:
            run.log({"loss": float(step())})  # type: ignore[arg-type]

        yield logged
        run.unwatch(model)
        run.finish()


@contextmanager
def torchlens_trace(step: Step, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Iterator[Step]:
    import torchlens
    from torchlens.options import CaptureOptions

    def traced() -> None:
        step()
        torchlens.trace(model, batch, capture=CaptureOptions(unwrap_when_done=True))

    yield traced


@contextmanager
def cockpit_full(model: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor]) -> Iterator[Step]:
    from backpack import extend
    from cockpit import Cockpit
    from cockpit.utils import configuration

    extended = extend(model)
    loss_function = extend(nn.CrossEntropyLoss())
    individual = nn.CrossEntropyLoss(reduction="none")
    cockpit = Cockpit(model.parameters(), quantities=configuration.configuration("economy"))
    labels = torch.arange(len(batch[0]))
    count = 0

    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)  # cockpit knows no gradients that are None

    def step() -> None:
        nonlocal count
        optimizer.zero_grad(set_to_none=False)
        logits = extended(*batch)
        loss = loss_function(logits, labels)
        info = {"batch_size": len(labels), "individual_losses": individual(logits, labels), "loss": loss,
                "optimizer": optimizer}  # fmt: skip
        with cockpit(count, info=info):
            loss.backward(create_graph=cockpit.create_graph(count))
        optimizer.step()
        count += 1

    yield step


def tool(name: str, step: Step, model: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor]):  # type: ignore[no-untyped-def]
    match name:
        case "off":
            return watched(step, 10**9)
        case "default":
            return watched(step, CADENCE)
        case "every":
            return watched(step, 1)
        case "naive":
            return naive(step, model)
        case "wandb":
            return wandb_watch(step, model)
        case "torchlens":
            return torchlens_trace(step, model, batch)
        case "cockpit":
            return cockpit_full(model, optimizer, batch)
    raise ValueError(f"tool: expected one of {', '.join(TOOLS)}, got {name!r}")
