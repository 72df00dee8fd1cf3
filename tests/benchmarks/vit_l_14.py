"""The published recipes with a whole ViT-L-14 tower: its random weights go through a file, then two steps of each.

Batch size and precision are the recipes' own. Few pictures go through the tower, which takes seconds for each on a CPU;
their features are repeated, with noise of a tenth of their deviation, until they fill a batch. Needs some 7 GiB of
memory and 2 GB of disk, and takes minutes: ``make test-large``.
"""

from __future__ import annotations

import math
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from edgeglass_models import towers
from edgeglass_models.checkpoint import latest_checkpoint, read_checkpoint
from edgeglass_models.data.features import Features, cached_features
from edgeglass_models.data.scenes import ScenePairs
from edgeglass_models.data.splits import FeatureSet, FeatureSplits
from edgeglass_models.recipes.loading import load_recipes
from edgeglass_models.towers import Tower, load_tower
from edgeglass_models.train import train

ARCHITECTURE = "ViT-L-14"
RECIPES = ("baseline-vit-l-14", "perceiver-vit-l-14")
PICTURES = 8
TOKENS = (257, 1024)  # 16 x 16 patches and the class token
TEXT = 768


def main() -> None:
    """Print what was built, how long it took, and the peak of memory; ends with an error where a step is not finite."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        tower = _tower(place / "vit-l-14.safetensors")
        features = _features(tower, place / "cache")
        del tower
        for name in RECIPES:
            _two_steps(name, features, place / name)
    _say(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB, {os.cpu_count()} cores")


def _tower(file: Path) -> Tower:
    """Random weights of another seed than load_tower's own, written, let go, and read back."""
    start = time.perf_counter()
    torch.manual_seed(5)
    model = towers.open_clip.create_model(ARCHITECTURE, pretrained=None)
    probe = model.visual.conv1.weight.detach().clone()
    save_file(model.state_dict(), file)
    count = sum(parameter.numel() for parameter in model.parameters())
    del model
    tower = load_tower(ARCHITECTURE, str(file))
    assert torch.equal(tower.model.visual.conv1.weight, probe), "other weights than were written"
    size, seconds = file.stat().st_size / 1e9, time.perf_counter() - start
    _say(f"{ARCHITECTURE}: {count / 1e6:.0f} M random weights, {size:.2f} GB written and read back in {seconds:.0f} s")
    return tower


def _features(tower: Tower, cache: Path) -> Features:
    start = time.perf_counter()
    features = cached_features(tower, ScenePairs("train", PICTURES), cache_dir=cache, batch_size=4, progress=False)
    assert features.tokens.shape == (PICTURES, *TOKENS), features.tokens.shape
    assert features.text.shape == (PICTURES, TEXT), features.text.shape
    _say(f"tower: {PICTURES} pictures to {features.tokens.shape[1:]} in {time.perf_counter() - start:.0f} s")
    return features


def _filled(features: Features, count: int, seed: int) -> FeatureSet:
    """The features repeated to a number of pictures, no two of them equal."""
    drawn, rows = np.random.default_rng(seed), np.arange(count) % PICTURES

    def varied(values: np.ndarray) -> np.ndarray:
        noise = drawn.standard_normal((count, *values.shape[1:]), dtype=np.float32)
        return np.asarray(values, dtype=np.float32)[rows] + 0.1 * float(np.std(values, dtype=np.float32)) * noise

    return FeatureSet(Features(varied(features.tokens).astype(np.float16), varied(features.text), f"varied-{seed}"))


def _two_steps(name: str, features: Features, out: Path) -> None:
    (recipe,) = load_recipes(name, ["train.max_steps=2"])
    size = recipe.train.batch_size
    splits = FeatureSplits(_filled(features, size, 0), _filled(features, 16, 1), _filled(features, 16, 2))
    start = time.perf_counter()
    result = train(recipe, splits, out)
    seconds = time.perf_counter() - start
    tensors, step, _ = read_checkpoint(latest_checkpoint(out))
    weights = {key: value for key, value in tensors.items() if key.startswith("model.")}
    assert step == 2, step
    losses = result.train_loss, result.val_loss
    assert all(map(math.isfinite, losses)), losses
    assert all(bool(torch.isfinite(value).all()) for value in weights.values()), "a weight is not finite"
    count = sum(value.numel() for value in weights.values())
    _say(
        f"{name}: {count / 1e6:.1f} M trained weights, width {recipe.model.width}, 2 steps of batch {size} in "
        f"{recipe.train.precision}, loss {result.train_loss:.4f}, with validation and test {seconds:.0f} s"
    )


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
