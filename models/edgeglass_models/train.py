"""An ordinary training loop on Lightning Fabric, without any code for diagnostics."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from torch import Tensor, nn

from edgeglass_diag.measures.ranking import chance_recalls, hits
from edgeglass_diag.measures.retrieval import place_pairs
from edgeglass_models.align import AlignmentModel
from edgeglass_models.batches import micro_batches, sampled_dims, steps_per_epoch, total_steps
from edgeglass_models.build import build_model
from edgeglass_models.checkpoint import read_checkpoint, restore, restore_optimizer, save_checkpoint
from edgeglass_models.data.splits import FeatureSet, FeatureSplits
from edgeglass_models.optim import make_optimizer
from edgeglass_models.processes import launch
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


def train(
    recipe: Recipe, splits: FeatureSplits, out: Path, *, log: Log | None = None, resume: Path | None = None
) -> TrainResult:
    """Train a recipe on frozen features; write ``history.jsonl`` and checkpoints below ``out``.

    With several processes (``train.devices``, ``train.num_nodes``) each calls it with the same arguments, and each
    returns the same result.

    Args:
        recipe: settings.
        splits: frozen features of the training, validation and test pairs.
        out: folder to write to.
        log: called with (metrics by name, step) for each record of ``history.jsonl``.
        resume: checkpoint to continue from, also of another number of processes or another strategy; with the same
            ones the result equals that of an uninterrupted run.
    """
    fabric = launch(recipe.train)
    torch.manual_seed(recipe.seed)
    model = build_model(
        recipe.model, recipe.loss, image_width=splits.train.image_width, text_width=splits.train.text_width
    )
    length = total_steps(recipe, len(splits.train))
    tensors, start, _ = read_checkpoint(resume) if resume is not None else ({}, 0, {})
    if tensors:
        restore(tensors, model)
    network = fabric.setup_module(model)
    optimizer, schedule = make_optimizer(model, recipe.optim, length)
    if tensors:
        restore_optimizer(tensors, optimizer)
        schedule.last_epoch = start
        for group, factor in zip(optimizer.param_groups, schedule.lr_lambdas, strict=True):
            group["lr"] = recipe.optim.lr * factor(start)
    stepping = fabric.setup_optimizers(optimizer)
    assert not isinstance(stepping, tuple)  # that of several optimizers
    history = _History(out, log, fabric)

    for step in range(start, length):
        network.train()
        loss = _backward(network, recipe, splits.train, step, fabric)
        if recipe.optim.max_grad_norm is not None:
            fabric.clip_gradients(network, stepping, max_norm=recipe.optim.max_grad_norm, error_if_nonfinite=False)
        stepping.step()
        stepping.zero_grad()
        schedule.step()
        history.train_loss(loss)
        if (step + 1) % recipe.train.validate_every == 0 or step + 1 == length:
            history.write(_validate(network, splits.val, recipe, fabric), step)
        every = recipe.train.checkpoint_every
        if step + 1 == length or (every is not None and (step + 1) % every == 0):
            save_checkpoint(out / "checkpoints", model, optimizer, step=step + 1, recipe=recipe.model_dump(mode="json"))

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
    weight = next(model.parameters())
    images, captions = (torch.split(torch.arange(count), batch_size) for count in (len(pairs), len(pairs.image_index)))
    image = [model.image_head(pairs.tokens(rows).to(weight)).float().cpu() for rows in images]
    text = [model.text_head(pairs.text(rows).to(weight)).float().cpu() for rows in captions]
    return torch.cat(image), torch.cat(text)


def zero_overflowing(side: Tensor) -> Tensor:
    """Return embeddings (N, W) with rows whose norm overflows set to zero, as the model's normalisation does.

    A row that is not finite stays unchanged.
    """
    overflown = torch.isfinite(side).all(-1, keepdim=True) & side.norm(dim=-1, keepdim=True).isinf()
    return side.masked_fill(overflown, 0)


def _backward(network: _FabricModule, recipe: Recipe, pairs: FeatureSet, step: int, fabric: Fabric) -> Tensor:
    """Compute the gradients of a step; return the mean loss of this process's pairs."""
    losses: list[Tensor] = []
    shared = recipe.train.processes > 1
    for part, batch in enumerate(micro_batches(recipe, pairs, step, fabric.global_rank), start=1):
        tokens, text = fabric.to_device(batch)
        with fabric.no_backward_sync(network, enabled=shared and part < recipe.train.accumulate):
            output = network(tokens, text, sampled_dims(recipe, step), gather=shared)
            losses.append(output["loss"].detach())
            fabric.backward(output["loss"] / recipe.train.accumulate)
    return torch.stack(losses).mean()


@torch.no_grad()
def _validate(network: nn.Module, val: FeatureSet, recipe: Recipe, fabric: Fabric) -> dict[str, float]:
    """Return the mean losses of the validation batches, which the processes take in turn.

    All make the same number of passes, as those of a sharded model are collective; one too many does not count.
    """
    network.eval()
    sums: dict[str, list[float]] = {}
    size = recipe.train.batch_size
    count = math.ceil(len(val) / size)
    for first in range(0, count, fabric.world_size):
        number = min(first + fabric.global_rank, count - 1)
        tokens, text = fabric.to_device(val[torch.arange(number * size, min((number + 1) * size, len(val)))])
        for name, value in network(tokens, text).items():
            values = sums.setdefault(f"val/{name}", [])
            if first + fabric.global_rank < count:
                values.append(float(value))
    if fabric.world_size == 1:
        return {name: sum(values) / count for name, values in sums.items()}
    totals = torch.tensor([sum(values) for values in sums.values()], dtype=torch.float64)
    shared = fabric.all_reduce(fabric.to_device(totals), reduce_op="sum")
    assert isinstance(shared, Tensor)
    return dict(zip(sums, (shared / count).tolist(), strict=True))


class _History:
    """Appends metrics to ``history.jsonl``, in one process of several, and passes them to ``log``."""

    def __init__(self, out: Path, log: Log | None, fabric: Fabric) -> None:
        self._file = out / "history.jsonl"
        self._log = log
        self._fabric = fabric
        self._losses: list[Tensor] = []
        self.last: dict[str, float] = {}
        if fabric.is_global_zero:
            out.mkdir(parents=True, exist_ok=True)

    def train_loss(self, loss: Tensor) -> None:
        """Take the loss of a step, of this process's pairs."""
        self._losses.append(loss)

    def mean_train_loss(self, steps: int) -> float:
        """Return the mean loss of the last steps over all processes, NaN before the first step."""
        if not self._losses:
            return math.nan
        mean = self._fabric.all_reduce(torch.stack(self._losses[-steps:]).double().mean(), reduce_op="mean")
        assert isinstance(mean, Tensor)
        return float(mean)

    def write(self, metrics: Mapping[str, float], step: int) -> None:
        self.last |= metrics
        record: dict[str, Any] = {"step": step, "train/loss": self.mean_train_loss(10), **metrics}
        if self._fabric.is_global_zero:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        if self._log is not None:
            self._log(metrics, step)
