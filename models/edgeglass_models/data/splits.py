"""The sets that a run needs, as frozen features in memory-mapped arrays."""

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
from edgeglass_models.data.rows import Account
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
    """Frozen features of one set: N pictures with tokens (N, L, Di) and M >= N captions with text (M, Dt)."""

    features: Features

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.features.tokens)

    def __getitem__(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of some pictures and the text of the first caption of each, in float32."""
        return self.with_captions(indices, torch.zeros_like(indices))

    def with_captions(self, indices: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of some pictures and text of one caption of each: number ``turn`` modulo how many it has."""
        rows = indices.numpy()
        chosen = self._first[rows] + turns.numpy() % self._counts[rows]
        with record_function("data_wait"):  # reading a memory map waits for the disk; a profiler's trace shows it
            return self.tokens(indices), self.text(torch.from_numpy(chosen))

    def tokens(self, indices: Tensor) -> Tensor:
        """Tokens of some pictures (B, L, Di), in float32."""
        return torch.from_numpy(np.asarray(self.features.tokens[indices.numpy()])).float()

    def text(self, captions: Tensor) -> Tensor:
        """Text features of some captions (B, Dt), in float32."""
        return torch.from_numpy(np.asarray(self.features.text[captions.numpy()])).float()

    @cached_property
    def image_index(self) -> Tensor:
        """The picture of each caption, (M,)."""
        owners = self.features.image_index
        return torch.arange(len(self)) if owners is None else torch.from_numpy(np.array(owners))

    @cached_property
    def _counts(self) -> NDArray[Any]:
        """How many captions each picture has, (N,)."""
        return np.bincount(self.image_index.numpy(), minlength=len(self))

    @cached_property
    def _first(self) -> NDArray[Any]:
        """The row of each picture's first caption, (N,)."""
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
        """All pictures in order, each with its first caption; the last batch may be short."""
        for start in range(0, len(self), size):
            yield self[torch.arange(start, min(start + size, len(self)))]


@dataclass(frozen=True)
class FeatureSplits:
    """Features of the training, validation and test pairs."""

    train: FeatureSet
    val: FeatureSet
    test: FeatureSet


def pair_splits(data: DataSettings, *, whole: bool = False) -> dict[str, Pairs]:
    """Training, validation and test pairs: scenes drawn at run time, or one's own split by picture 80 : 10 : 10.

    The counts of the settings are exact for scenes and upper limits for one's own.

    Args:
        data: the settings.
        whole: everything that ``data.path`` has as the one set "all", whatever the counts.

    Raises:
        ValueError: data that are missing, unreadable or too few, and, as ``data.on_error`` says, in part unusable.
    """
    limits: dict[str, int | None] = {ALL: None} if whole else {"train": data.train, "val": data.val, "test": data.test}
    if data.path is None:
        if whole:
            raise ValueError(f"split {ALL!r}: is for data of one's own; scenes have {', '.join(SPLITS)}")
        return {name: ScenePairs(name, getattr(data, name), data.seed) for name in SPLITS}
    source = Source(data.path, data.images, Columns(data.image_column, data.caption_column))
    found = scan(source, limits, seed=data.seed)
    _settle(found.account, data)
    return dict(split_pairs(found, source))


def load_splits(data: DataSettings, tower: TowerSettings, *, cache_dir: Path | None = None) -> FeatureSplits:
    """Frozen features of all three sets, from the cache where it has them.

    Raises:
        ValueError: for a tower, weights or data that are not there; see load_tower and pair_splits.
    """
    return FeatureSplits(**_features(data, tower, pair_splits(data), cache_dir))


def load_whole(data: DataSettings, tower: TowerSettings, *, cache_dir: Path | None = None) -> FeatureSet:
    """Frozen features of everything that ``data.path`` has.

    Raises:
        ValueError: as load_splits.
    """
    return _features(data, tower, pair_splits(data, whole=True), cache_dir)[ALL]


def _features(
    data: DataSettings, tower: TowerSettings, parts: dict[str, Pairs], cache_dir: Path | None
) -> dict[str, FeatureSet]:
    frozen: Tower = load_tower(tower.model, tower.pretrained)
    sets = {name: FeatureSet(cached_features(frozen, part, cache_dir=cache_dir)) for name, part in parts.items()}
    account = Account(rows=sum(map(len, parts.values())))
    for one in sets.values():
        for fault in one.features.damaged:
            account.add(fault)
    _settle(account, data)
    cut, captions = (sum(of(one.features) for one in sets.values()) for of in (lambda f: f.cut, lambda f: len(f.text)))
    if cut:
        context = frozen.tokenizer.context_length
        warnings.warn(f"{cut} of {captions} captions are longer than {context} tokens and lose their end", stacklevel=2)
    return sets


def _settle(account: Account, data: DataSettings) -> None:
    """Do with what cannot be used as the settings say."""
    if not account:
        return
    if data.on_error == "refuse":
        raise ValueError(f"{data.path}: cannot use {account}; data.on_error=skip leaves them out")
    warnings.warn(f"{data.path}: left out {account}", stacklevel=2)
