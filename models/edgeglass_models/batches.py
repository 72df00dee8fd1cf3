"""Which pairs and prefixes an optimizer step takes, and which of them this process."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from edgeglass_models.data.splits import FeatureSet
from edgeglass_models.recipes.settings import Recipe


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


def micro_batches(recipe: Recipe, pairs: FeatureSet, step: int, rank: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield a process's share of the micro-batches of a step: tokens (b, L, Di) and text (b, Dt).

    A batch has each image once, so that no caption is a negative of its own image. Each epoch uses the next caption of
    an image, starting from a random one. The shares of all ranks, one behind the other, are the micro-batches of one
    process; features of other ranks are not read.
    """
    size, per_epoch = recipe.train.batch_size, steps_per_epoch(recipe, len(pairs))
    epoch, position = divmod(step, per_epoch)
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + epoch)
    order = torch.randperm(len(pairs), generator=generator)[position * size : (position + 1) * size]
    starts = torch.randint(1 << 31, (len(pairs),), generator=torch.Generator().manual_seed(recipe.seed))
    for whole in order.chunk(recipe.train.accumulate):
        part = whole.chunk(recipe.train.processes)[rank]
        yield pairs.with_captions(part, starts[part] + epoch)


def sampled_dims(recipe: Recipe, step: int) -> list[int] | None:
    """Return the prefix widths of a step, the same in all processes; None for all."""
    if not recipe.loss.sample_single_mrl_dim:
        return None
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    dims = recipe.model.mrl_dims
    return [dims[int(torch.randint(len(dims), (), generator=generator))]]
