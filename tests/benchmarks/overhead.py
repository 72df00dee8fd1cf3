"""What watching costs: the ratio of a watched to a plain training step, side by side with other tools.

Each tool runs in a process of its own, which alternates plain and watched blocks of steps and prints the median of
the ratios of neighbouring blocks; peak memory comes from further processes that only train.

    python tests/benchmarks/overhead.py                     # both models, all tools, a table in Markdown
    python tests/benchmarks/overhead.py perceiver every     # one of them

Other tools: pip install wandb torchlens cockpit-for-pytorch json_tricks "setuptools<81"
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
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
MODELS = ("perceiver", "vit")
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


def build(name: str, device: str) -> tuple[nn.Module, torch.optim.Optimizer, tuple[Tensor, Tensor]]:
    """Model, optimizer and batch: Perceiver with 257 tokens and batch 32, or ViT-B/16 with batch 4 (32 on a GPU)."""
    torch.manual_seed(0)
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
    labels = torch.arange(len(batch[0]), device=batch[0].device)

    def step() -> Tensor:
        optimizer.zero_grad()
        logits = model(*batch)
        loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        loss.backward()
        optimizer.step()
        return loss

    return step


@contextmanager
def watched(step: Step, every: int) -> Iterator[Step]:
    """The watch with its rules and its writer, long after the dense windows of the start."""
    from edgeglass_diag.watching import Watch

    with tempfile.TemporaryDirectory() as folder:
        watch = Watch(Path(folder) / "run", every=every)
        watch._recorder.step = LATE
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


def clock(step: Step, steps: int, device: str) -> float:
    if device == "cuda":
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        begin.record()
        for _ in range(steps):
            step()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1000
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return time.perf_counter() - start


def measure(model_name: str, tool_name: str, pairs: int, device: str) -> dict[str, float]:
    """Median ratio of watched to plain blocks; the first step of a block is not counted."""
    model, optimizer, batch = build(model_name, device)
    step = plain_step(model, optimizer, batch)
    step()
    # The smallest ratio needs the most pairs, and the cadence its whole length.
    steps, pairs = {"default": (CADENCE, max(3, pairs // 2)), "off": (1, 4 * pairs)}.get(tool_name, (2, pairs))
    ratios, plain_times = [], []
    for pair in range(pairs):
        times = {}
        for kind in ("plain", "tool") if pair % 2 else ("tool", "plain"):
            with ExitStack() as stack:
                run = step if kind == "plain" else stack.enter_context(tool(tool_name, step, model, optimizer, batch))
                run()
                times[kind] = clock(run, steps, device)
        ratios.append(times["tool"] / times["plain"])
        plain_times.append(times["plain"] / steps)
    return {
        "ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios),
        "plain_seconds": statistics.median(plain_times),
    }  # fmt: skip


def peak(model_name: str, tool_name: str | None, device: str) -> dict[str, float]:
    """Peak memory of a process that takes three steps, in MiB; what the tool imports counts for the plain step too."""
    if tool_name is None or tool_name in ("off", "default", "every"):
        pass
    model, optimizer, batch = build(model_name, device)
    step = plain_step(model, optimizer, batch)
    with ExitStack() as stack:
        run = step if tool_name is None else stack.enter_context(tool(tool_name, step, model, optimizer, batch))
        for _ in range(3):
            run()
    if device == "cuda":
        return {"peak": torch.cuda.max_memory_allocated() / 2**20}
    return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10}


def child(*arguments: str) -> dict[str, float] | str:
    """Result of this script in another process, or the last line of its error."""
    line = [sys.executable, "-W", "ignore", __file__, *arguments]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no message"])[-1]
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def table(models: list[str], tools: list[str], pairs: int, device: str) -> None:
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, {pairs} pairs\n")
    print("| model | tool | ratio (lowest to highest) | peak memory |\n| --- | --- | --- | --- |")
    for model in models:
        common = ("--model", model, "--device", device)
        base = child(*common, "--peak", "plain")
        for name in tools:
            time_of = child(*common, "--tool", name, "--pairs", str(pairs))
            if isinstance(time_of, str):
                print(f"| {model} | {TOOLS[name]} | does not run: {time_of[:90]} | |", flush=True)
                continue
            memory = child(*common, "--peak", name)
            ratio = f"{time_of['ratio']:.3f} ({time_of['low']:.3f} to {time_of['high']:.3f})"
            share = memory["peak"] / base["peak"] - 1 if isinstance(memory, dict) and isinstance(base, dict) else None
            shown = "" if share is None else f"{share:+.1%}"
            print(f"| {model} ({time_of['plain_seconds']:.2f} s) | {TOOLS[name]} | {ratio} | {shown} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help=f"models ({', '.join(MODELS)}) and tools ({', '.join(TOOLS)})")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--tool", help=argparse.SUPPRESS)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.peak:
        print(json.dumps(peak(given.model, None if given.peak == "plain" else given.peak, given.device)))
    elif given.tool:
        print(json.dumps(measure(given.model, given.tool, given.pairs, given.device)))
    else:
        models = [m for m in MODELS if m in given.only] or list(MODELS)
        tools = [t for t in TOOLS if t in given.only] or list(TOOLS)
        table(models, tools, given.pairs, given.device)


if __name__ == "__main__":
    main()
