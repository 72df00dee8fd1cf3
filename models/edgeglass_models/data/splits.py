"""Training, validation and test sets as frozen features in memory-mapped arrays."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.profiler import record_function

from edgeglass_models.data.features import Features, cached_features
from edgeglass_models.data.pairs import Pairs, split_pairs
from edgeglass_models.data.reading import Source
from edgeglass_models.data.rows import SkippedRows
from edgeglass_models.data.scan import scan
from edgeglass_models.data.scenes import ScenePairs
from edgeglass_models.data.tables import Columns
from edgeglass_models.recipes.settings import DataSettings, TowerSettings
from edgeglass_models.towers import Tower, load_tower

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
ALL = "all"


@dataclass(frozen=True)
class FeatureSet:
    """Frozen features of one set: N images with tokens (N, L, Di) and M >= N captions with text (M, Dt)."""

    features: Features

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.features.tokens)

    def __getitem__(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens (B, L, Di) of some images and text (B, Dt) of the first caption of each, in float32."""
        return self.with_captions(indices, torch.zeros_like(indices))

    def with_captions(self, indices: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens (B, L, Di) of some images and text (B, Dt) of one caption of each, in float32.

        Args:
            indices: (B,) rows of the images.
            turns: (B,) number of the caption, modulo the number of captions of the image.
        """
        rows = indices.numpy()
        chosen = self._first[rows] + turns.numpy() % self._counts[rows]
        with record_function("data_wait"):  # reading a memory map may wait for the disk: show it in traces
            return self.tokens(indices), self.text(torch.from_numpy(chosen))

    def tokens(self, indices: Tensor) -> Tensor:
        """Return the tokens (B, L, Di) of some images, in float32."""
        return torch.from_numpy(np.asarray(self.features.tokens[indices.numpy()])).float()

    def text(self, captions: Tensor) -> Tensor:
        """Return the text features (B, Dt) of some captions, in float32."""
        return torch.from_numpy(np.asarray(self.features.text[captions.numpy()])).float()

    @cached_property
    def image_index(self) -> Tensor:
        """Row of each caption's image, (M,)."""
        owners = self.features.image_index
        return torch.arange(len(self)) if owners is None else torch.from_numpy(np.array(owners))

    @cached_property
    def _counts(self) -> NDArray[Any]:
        """Number of captions of each image, (N,)."""
        return np.bincount(self.image_index.numpy(), minlength=len(self))

    @cached_property
    def _first(self) -> NDArray[Any]:
        """Row of each image's first caption, (N,)."""
        return np.concatenate([[0], np.cumsum(self._counts[:-1])])

    @property
    def image_width(self) -> int:
        """Width Di of the image tokens."""
        return int(self.features.tokens.shape[-1])

    @property
    def text_width(self) -> int:
        """Width Dt of the text features."""
        return int(self.features.text.shape[-1])

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all images in order, each with its first caption; the last batch may be smaller."""
        for start in range(0, len(self), size):
            yield self[torch.arange(start, min(start + size, len(self)))]


@dataclass(frozen=True)
class FeatureSplits:
    """Features of the training, validation and test pairs."""

    train: FeatureSet
    val: FeatureSet
    test: FeatureSet


def pair_splits(data: DataSettings, *, whole: bool = False) -> dict[str, Pairs]:
    """Return training, validation and test pairs: rendered scenes, or the user's own data split by image 80 : 10 : 10.

    The counts of the settings are exact for scenes and upper limits for own data.

    Args:
        data: the settings.
        whole: whether to return all of ``data.path`` as one set "all", without limits.

    Raises:
        ValueError: if data are missing, unreadable or too few, or partly unusable with ``data.on_error=refuse``.
    """
    limits: dict[str, int | None] = {ALL: None} if whole else {"train": data.train, "val": data.val, "test": data.test}
    if data.path is None:
        if whole:
            raise ValueError(f"split {ALL!r}: is for own data (data.path); scenes have {', '.join(SPLITS)}")
        return {name: ScenePairs(name, getattr(data, name), data.seed) for name in SPLITS}
    source = Source(data.path, data.images, Columns(data.image_column, data.caption_column))
    found = scan(source, limits, seed=data.seed)
    _refuse_or_warn(found.skipped, data)
    return dict(split_pairs(found, source))


def load_splits(data: DataSettings, tower: TowerSettings, *, cache_dir: Path | None = None) -> FeatureSplits:
    """Return the frozen features of all three sets, from the cache if it has them.

    Raises:
        ValueError: as load_tower and pair_splits.
    """
    return FeatureSplits(**_features(data, tower, pair_splits(data), cache_dir))


def load_whole(data: DataSettings, tower: TowerSettings, *, cache_dir: Path | None = None) -> FeatureSet:
    """Return the frozen features of all of ``data.path``.

    Raises:
        ValueError: as load_splits.
    """
    return _features(data, tower, pair_splits(data, whole=True), cache_dir)[ALL]


def _features(
    data: DataSettings, tower: TowerSettings, parts: dict[str, Pairs], cache_dir: Path | None
) -> dict[str, FeatureSet]:
    frozen: Tower = load_tower(tower.model, tower.pretrained)
    sets = {name: FeatureSet(cached_features(frozen, part, cache_dir=cache_dir)) for name, part in parts.items()}
    skipped = SkippedRows(rows=sum(map(len, parts.values())))
    for one in sets.values():
        for fault in one.features.damaged:
            skipped.add(fault)
    _refuse_or_warn(skipped, data)
    cut, captions = (sum(of(one.features) for one in sets.values()) for of in (lambda f: f.cut, lambda f: len(f.text)))
    if cut:
        context = frozen.tokenizer.context_length
        warnings.warn(f"{cut} of {captions} captions are longer than {context} tokens and lose their end", stacklevel=2)
    return sets


def _refuse_or_warn(skipped: SkippedRows, data: DataSettings) -> None:
    """Raise or warn about unusable rows, by ``data.on_error``."""
    if not skipped:
        return
    if data.on_error == "refuse":
        raise ValueError(f"{data.path}: cannot use {skipped}; data.on_error=skip leaves them out")
    warnings.warn(f"{data.path}: left out {skipped}", stacklevel=2)
