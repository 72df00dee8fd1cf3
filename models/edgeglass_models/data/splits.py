"""The three sets that a run needs, as frozen features in memory-mapped arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.profiler import record_function

from edgeglass_models.data.features import Features, cached_features
from edgeglass_models.data.pairs import CsvPairs, Pairs, PairsSubset, split_pairs
from edgeglass_models.data.scenes import ScenePairs
from edgeglass_models.recipes.settings import DataSettings, TowerSettings
from edgeglass_models.towers import load_tower

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class FeatureSet:
    """Frozen features of one set: tokens (N, L, Di) and text (N, Dt)."""

    features: Features

    def __len__(self) -> int:
        return len(self.features.text)

    def __getitem__(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and text of some pairs, in float32."""
        rows = indices.numpy()
        with record_function("data_wait"):  # reading a memory map waits for the disk; a profiler's trace shows it
            tokens, text = np.asarray(self.features.tokens[rows]), np.asarray(self.features.text[rows])
            return torch.from_numpy(tokens).float(), torch.from_numpy(text).float()

    @property
    def image_width(self) -> int:
        """Width Di of the image tokens."""
        return int(self.features.tokens.shape[-1])

    @property
    def text_width(self) -> int:
        """Width Dt of the text features."""
        return int(self.features.text.shape[-1])

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All pairs in order; the last batch may be short."""
        for start in range(0, len(self), size):
            yield self[torch.arange(start, min(start + size, len(self)))]


@dataclass(frozen=True)
class FeatureSplits:
    """Features of the training, validation and test pairs."""

    train: FeatureSet
    val: FeatureSet
    test: FeatureSet


def pair_splits(data: DataSettings) -> dict[str, Pairs]:
    """Training, validation and test pairs: scenes drawn at run time, or a CSV split by picture 80 : 10 : 10.

    The counts of the settings are exact for scenes and upper limits for a CSV.
    """
    counts = (data.train, data.val, data.test)
    if data.path is None:
        return {name: ScenePairs(name, count, data.seed) for name, count in zip(SPLITS, counts, strict=True)}
    parts = split_pairs(CsvPairs(data.path), seed=data.seed)
    return {
        name: PairsSubset(part.whole, part.indices[:count])
        for name, part, count in zip(SPLITS, parts, counts, strict=True)
    }


def load_splits(data: DataSettings, tower: TowerSettings, *, cache_dir: Path | None = None) -> FeatureSplits:
    """Frozen features of all three sets, from the cache where it has them.

    Raises:
        ValueError: for a tower, weights or data that are not there; see load_tower and CsvPairs.
    """
    pairs = pair_splits(data)
    frozen = load_tower(tower.model, tower.pretrained)
    sets = {name: FeatureSet(cached_features(frozen, part, cache_dir=cache_dir)) for name, part in pairs.items()}
    return FeatureSplits(**sets)
