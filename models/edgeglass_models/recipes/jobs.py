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

    from edgeglass_models.data.splits import FeatureSplits
    from edgeglass_models.faults.case import Case


def names() -> list[str]:
    """Names of the shipped recipes."""
    return shipped_names()


def plan(target: str, overrides: Iterable[str] = ()) -> list[RecipeJob]:
    """The training runs that a recipe name or YAML file stands for.

    Raises:
        ValueError: in one line, for anything wrong with the recipe.
    """
    return [RecipeJob(recipe) for recipe in load_recipes(target, overrides)]


def cases() -> list[Case]:
    """Faults and healthy variants on which a detector is measured."""
    from edgeglass_models.faults.catalogue import all_cases

    return all_cases()


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
    from edgeglass_models.build import build_model
    from edgeglass_models.checkpoint import latest_checkpoint, read_checkpoint, restore
    from edgeglass_models.data.splits import SPLITS
    from edgeglass_models.train import embed as embed_pairs

    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    tensors, _, content = read_checkpoint(latest_checkpoint(path) if path.is_dir() else path)
    recipe = Recipe.model_validate(content)
    pairs = getattr(_splits(recipe.data, recipe.tower), split)
    model = build_model(recipe.model, recipe.loss, image_width=pairs.image_width, text_width=pairs.text_width)
    restore(tensors, model)
    return *embed_pairs(model, pairs), list(model.head.dims)


@lru_cache(maxsize=2)
def _splits(data: DataSettings, tower: TowerSettings) -> FeatureSplits:
    from edgeglass_models.data.splits import load_splits

    return load_splits(data, tower)
