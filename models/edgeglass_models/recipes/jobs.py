"""Recipes as jobs: what the entry point ``edgeglass_diag.recipes`` offers to whoever runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeglass_models.recipes.loading import load_recipes, shipped_names
from edgeglass_models.recipes.settings import DataSettings, Recipe, TowerSettings

if TYPE_CHECKING:
    from torch import Tensor

    from edgeglass_models.align import AlignmentModel
    from edgeglass_models.data.splits import FeatureSplits
    from edgeglass_models.views import PairViews


def names() -> list[str]:
    """Names of the shipped recipes."""
    return shipped_names()


def plan(target: str, overrides: Iterable[str] = ()) -> list[RecipeJob]:
    """The training runs that a recipe name or YAML file stands for.

    Raises:
        ValueError: in one line, for anything wrong with the recipe.
    """
    return [RecipeJob(recipe) for recipe in load_recipes(target, overrides)]


@dataclass(frozen=True)
class RecipeJob:
    """One training run of a recipe."""

    recipe: Recipe

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.recipe.name

    @property
    def settings(self) -> dict[str, Any]:
        """All settings as plain values."""
        return self.recipe.model_dump(mode="json")

    def prepare(self) -> int:
        """Make the frozen features ready; returns the number of optimizer steps to come.

        Raises:
            ValueError: for missing weights, missing or unusable data, or too little of it.
        """
        from edgeglass_models.train import total_steps

        return total_steps(self.recipe, len(_splits(self.recipe.data, self.recipe.tower).train))

    def train(self, out: Path, log: Callable[[Mapping[str, float], int], None]) -> dict[str, Any]:
        """Train into ``out``; returns losses and recalls."""
        from edgeglass_models.train import train

        return asdict(train(self.recipe, _splits(self.recipe.data, self.recipe.tower), out, log=log))


def embed(path: Path, split: str = "test") -> tuple[Tensor, Tensor, list[int]]:
    """Image and text embeddings (N, W) of a trained run or checkpoint file, and its MRL dims.

    Args:
        path: run folder (its latest checkpoint is taken) or checkpoint file.
        split: ``train``, ``val`` or ``test``.

    Raises:
        ValueError: when there is no checkpoint of a recipe at ``path``, or no such split.
    """
    from edgeglass_models.train import embed as embed_pairs

    model, recipe = trained(path, split)
    return *embed_pairs(model, getattr(_splits(recipe.data, recipe.tower), split)), list(model.head.dims)


def views(path: Path, split: str = "test", count: int = 256) -> PairViews:
    """The first ``count`` pairs of a split as pixels, tokens, latents (of a resampler) and words.

    Raises:
        ValueError: when there is no checkpoint of a recipe at ``path``, or no such split.
    """
    from edgeglass_models.data.splits import pair_splits
    from edgeglass_models.towers import load_tower
    from edgeglass_models.views import make_views

    model, recipe = trained(path, split)
    pairs = pair_splits(recipe.data)[split]
    chosen = [pairs[i] for i in range(min(count, len(pairs)))]
    return make_views(load_tower(recipe.tower.model, recipe.tower.pretrained), model, chosen)


def trained(path: Path, split: str = "test") -> tuple[AlignmentModel, Recipe]:
    """The model of a run's latest checkpoint, or of a checkpoint file."""
    from edgeglass_models.build import build_model
    from edgeglass_models.checkpoint import latest_checkpoint, read_checkpoint, restore
    from edgeglass_models.data.splits import SPLITS

    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    tensors, _, content = read_checkpoint(latest_checkpoint(path) if path.is_dir() else path)
    recipe = Recipe.model_validate(content)
    widths = {"image_width": _width(tensors, "image_head.project"), "text_width": _width(tensors, "text_head")}
    model = build_model(recipe.model, recipe.loss, **widths)
    restore(tensors, model)
    return model.eval(), recipe


def _width(tensors: Mapping[str, Tensor], layer: str) -> int:
    return int(tensors[f"model.{layer}.weight"].shape[1])


@lru_cache(maxsize=2)
def _splits(data: DataSettings, tower: TowerSettings) -> FeatureSplits:
    from edgeglass_models.data.splits import load_splits

    return load_splits(data, tower)
