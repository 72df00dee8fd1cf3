"""An ordinary training loop on Lightning Fabric, without any code for diagnostics."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from edgeglass_diag.measures.ranking import chance_recalls, hits
from edgeglass_diag.measures.retrieval import place_pairs
from edgeglass_models.align import AlignmentModel
from edgeglass_models.build import build_model
from edgeglass_models.checkpoint import read_checkpoint, restore, save_checkpoint
from edgeglass_models.data.splits import FeatureSet, FeatureSplits
from edgeglass_models.optim import make_optimizer
from edgeglass_models.recipes.settings import Recipe

Log = Callable[[Mapping[str, float], int], None]
KS = (1, 5, 10)


@dataclass(frozen=True)
class TrainResult:
    """Result of a finished run: losses in nats, recalls of ``n`` test images with ``n_texts`` captions.

    ``chance`` has the recalls of a random ranking: K / n by name, and those of both directions, ``i2t``, ``t2i``.
    """

    train_loss: float
    val_loss: float
    i2t: dict[str, float]
    t2i: dict[str, float]
    n: int
    n_texts: int
    chance: dict[str, Any]


def steps_per_epoch(recipe: Recipe, pairs: int) -> int:
    """Return the number of whole batches of images in an epoch; an incomplete last batch is dropped.

    Raises:
        ValueError: if the training set is smaller than one batch.
    """
    if pairs < recipe.train.batch_size:
        raise ValueError(f"{pairs} training pairs do not fill one batch of {recipe.train.batch_size}")
    return pairs // recipe.train.batch_size


def total_steps(recipe: Recipe, pairs: int) -> int:
    """Return the length of the run in optimizer steps."""
    steps = recipe.train.epochs * steps_per_epoch(recipe, pairs)
    return min(steps, recipe.train.max_steps or steps)


def train(
    recipe: Recipe, splits: FeatureSplits, out: Path, *, log: Log | None = None, resume: Path | None = None
) -> TrainResult:
    """Train a recipe on frozen features; write ``history.jsonl`` and checkpoints below ``out``.

    Args:
        recipe: settings.
        splits: frozen features of the training, validation and test pairs.
        out: folder to write to.
        log: called with (metrics by name, step) for each record of ``history.jsonl``.
        resume: checkpoint to continue from; the result equals that of an uninterrupted run.
    """
    fabric = Fabric(accelerator="auto", devices=1, precision=recipe.train.precision)
    torch.manual_seed(recipe.seed)
    model = build_model(
        recipe.model, recipe.loss, image_width=splits.train.image_width, text_width=splits.train.text_width
    )
    length = total_steps(recipe, len(splits.train))
    optimizer, schedule = make_optimizer(model, recipe.optim, length)
    start = 0
    if resume is not None:
        tensors, start, _ = read_checkpoint(resume)
        restore(tensors, model, optimizer)
        schedule.last_epoch = start
        for group, factor in zip(optimizer.param_groups, schedule.lr_lambdas, strict=True):
            group["lr"] = recipe.optim.lr * factor(start)
    network, optimizer = fabric.setup(model, optimizer)
    history = _History(out, log)

    for step in range(start, length):
        network.train()
        losses: list[Tensor] = []
        for batch in _micro_batches(recipe, splits.train, step):
            tokens, text = fabric.to_device(batch)
            output = network(tokens, text, _sampled_dims(recipe, step))
            losses.append(output["loss"].detach())
            fabric.backward(output["loss"] / recipe.train.accumulate)
        if recipe.optim.max_grad_norm is not None:
            fabric.clip_gradients(network, optimizer, max_norm=recipe.optim.max_grad_norm, error_if_nonfinite=False)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        history.train_loss(torch.stack(losses).mean(), step)
        if (step + 1) % recipe.train.validate_every == 0 or step + 1 == length:
            history.write(_validate(network, splits.val, recipe, fabric), step)
        every = recipe.train.checkpoint_every
        if step + 1 == length or (every is not None and (step + 1) % every == 0):
            file = out / "checkpoints" / f"step-{step + 1:06d}.safetensors"
            save_checkpoint(file, model, optimizer, step=step + 1, recipe=recipe.model_dump(mode="json"))

    recalls = evaluate(model, splits.test)
    metrics = {f"{way}/{name}": value for way in ("i2t", "t2i") for name, value in recalls[way].items()}
    chance = chance_recalls(KS, splits.test.image_index, len(splits.test))
    metrics |= {f"{way}/chance@{k}": chance[way][f"R@{k}"] for way in chance for k in KS}
    history.write({**metrics, "n": len(splits.test), "n_texts": len(splits.test.image_index)}, length - 1)
    last_epoch = min(length, steps_per_epoch(recipe, len(splits.train)))
    return TrainResult(
        train_loss=history.mean_train_loss(last_epoch),
        val_loss=history.last.get("val/loss", math.nan),
        n=len(splits.test),
        n_texts=len(splits.test.image_index),
        chance={**chance["t2i"], **chance},
        **recalls,
    )


def evaluate(model: AlignmentModel, test: FeatureSet) -> dict[str, dict[str, float]]:
    """Return R@1/5/10 of both directions at full width: ``{"i2t": {"R@1": ...}, "t2i": {...}}``.

    NaN if any embedding is not finite.
    """
    image, text = (zero_overflowing(side) for side in embed(model, test))
    if not (torch.isfinite(image).all() and torch.isfinite(text).all()):
        return {way: {f"R@{k}": math.nan for k in KS} for way in ("i2t", "t2i")}
    ways = zip(("i2t", "t2i"), place_pairs(image, text, test.image_index), strict=True)
    return {way: {f"R@{k}": float(hits(placed, k).mean()) for k in KS} for way, placed in ways}


@torch.no_grad()
def embed(model: AlignmentModel, pairs: FeatureSet, *, batch_size: int = 256) -> tuple[Tensor, Tensor]:
    """Return embeddings of all images (N, W) and of all captions (M, W), not normalised."""
    model.eval()
    device = next(model.parameters()).device
    images, captions = (torch.split(torch.arange(count), batch_size) for count in (len(pairs), len(pairs.image_index)))
    image = [model.image_head(pairs.tokens(rows).to(device)).cpu() for rows in images]
    text = [model.text_head(pairs.text(rows).to(device)).cpu() for rows in captions]
    return torch.cat(image), torch.cat(text)


def zero_overflowing(side: Tensor) -> Tensor:
    """Return embeddings (N, W) with rows whose norm overflows set to zero, as the model's normalisation does.

    A row that is not finite stays unchanged.
    """
    overflown = torch.isfinite(side).all(-1, keepdim=True) & side.norm(dim=-1, keepdim=True).isinf()
    return side.masked_fill(overflown, 0)


def _micro_batches(recipe: Recipe, pairs: FeatureSet, step: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the micro-batches of a step: tokens (b, L, Di) and text (b, Dt).

    A batch has each image once, so that no caption is a negative of its own image. Each epoch uses the next caption of
    an image, starting from a random one.
    """
    size, per_epoch = recipe.train.batch_size, steps_per_epoch(recipe, len(pairs))
    epoch, position = divmod(step, per_epoch)
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + epoch)
    order = torch.randperm(len(pairs), generator=generator)[position * size : (position + 1) * size]
    starts = torch.randint(1 << 31, (len(pairs),), generator=torch.Generator().manual_seed(recipe.seed))
    for part in order.chunk(recipe.train.accumulate):
        yield pairs.with_captions(part, starts[part] + epoch)


def _sampled_dims(recipe: Recipe, step: int) -> list[int] | None:
    if not recipe.loss.sample_single_mrl_dim:
        return None
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    dims = recipe.model.mrl_dims
    return [dims[int(torch.randint(len(dims), (), generator=generator))]]


@torch.no_grad()
def _validate(network: torch.nn.Module, val: FeatureSet, recipe: Recipe, fabric: Fabric) -> dict[str, float]:
    network.eval()
    sums: dict[str, list[float]] = {}
    for batch in val.batches(recipe.train.batch_size):
        tokens, text = fabric.to_device(batch)
        for name, value in network(tokens, text).items():
            sums.setdefault(f"val/{name}", []).append(float(value))
    return {name: sum(values) / len(values) for name, values in sums.items()}


class _History:
    """Appends metrics to ``history.jsonl`` and passes them to ``log``."""

    def __init__(self, out: Path, log: Log | None) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._file = out / "history.jsonl"
        self._log = log
        self._losses: list[Tensor] = []
        self.last: dict[str, float] = {}

    def train_loss(self, loss: Tensor, step: int) -> None:
        self._losses.append(loss)

    def mean_train_loss(self, steps: int) -> float:
        return float(torch.stack(self._losses[-steps:]).double().mean()) if self._losses else math.nan

    def write(self, metrics: Mapping[str, float], step: int) -> None:
        self.last |= metrics
        record: dict[str, Any] = {"step": step, "train/loss": self.mean_train_loss(10), **metrics}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if self._log is not None:
            self._log(metrics, step)
