"""A recipe's training before its first step, without towers and data: random features of the same shape."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeglass_diag.user_input.files import is_file
from edgeglass_models.recipes.loading import load_recipes
from edgeglass_models.recipes.settings import Recipe, TowerSettings
from edgeglass_models.tiny_clip import WEIGHTS

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from edgeglass_models.align import AlignmentModel

SAMPLES = 4
"""Pairs in the random batch: enough to compare samples, and seconds for a head of published width."""


@dataclass(frozen=True)
class FeatureShape:
    """Shape of the towers' output: ``tokens`` L of width D for an image, width Dt for a caption."""

    tokens: int
    image_width: int
    text_width: int


@dataclass(frozen=True)
class RecipeStart:
    """A run of a recipe before its first step."""

    recipe: Recipe
    shape: FeatureShape

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.recipe.name

    @property
    def seed(self) -> int:
        """Seed of the run's initial weights."""
        return self.recipe.seed

    @property
    def note(self) -> str:
        """Description of the batch."""
        shape = self.shape
        return (
            f"{self._samples} pairs of random features, standard normal: tokens {shape.tokens} x {shape.image_width}, "
            f"captions {shape.text_width}, as of {self.recipe.tower.model}; towers and data are not loaded"
        )

    def build(self) -> tuple[AlignmentModel, Optimizer]:
        """Return the trainable heads and their optimizer, as the run makes them."""
        from edgeglass_models.build import build_model
        from edgeglass_models.optim import make_optimizer

        recipe, shape = self.recipe, self.shape
        model = build_model(recipe.model, recipe.loss, image_width=shape.image_width, text_width=shape.text_width)
        return model, make_optimizer(model, recipe.optim, recipe.train.max_steps or 1)[0]

    def batch(self) -> tuple[Tensor, Tensor]:
        """Return token features (B, L, D) and text features (B, Dt); the same at each call."""
        import torch

        generator = torch.Generator().manual_seed(self.seed)
        tokens = torch.randn(self._samples, self.shape.tokens, self.shape.image_width, generator=generator)
        return tokens, torch.randn(self._samples, self.shape.text_width, generator=generator)

    @property
    def _samples(self) -> int:
        return min(SAMPLES, self.recipe.train.batch_size // self.recipe.train.accumulate)


def begin(target: str, overrides: Iterable[str] = ()) -> list[RecipeStart]:
    """Return the initial states of the runs of a recipe, by name or YAML file.

    Raises:
        ValueError: if the recipe or its tower is unknown or invalid; the message has one line.
    """
    return [RecipeStart(recipe, feature_shape(recipe.tower)) for recipe in load_recipes(target, overrides)]


def feature_shape(tower: TowerSettings) -> FeatureShape:
    """Return the shape of a tower's features, from its configuration if possible, else from the loaded tower.

    Raises:
        ValueError: if the tower cannot be loaded.
    """
    config = _configuration(tower.model)
    vision = {} if config is None else config.get("vision_cfg", {})
    if config is not None and "timm_model_name" not in vision and isinstance(vision.get("layers", 12), int):
        patches = [side // vision.get("patch_size", 16) for side in _sides(vision.get("image_size", 224))]
        return FeatureShape(patches[0] * patches[1] + 1, vision.get("width", 768), config["embed_dim"])
    from PIL import Image

    from edgeglass_models.towers import load_tower

    loaded = load_tower(tower.model, tower.pretrained)
    tokens = loaded.image_tokens(loaded.transform(Image.new("RGB", (8, 8)))[None])
    return FeatureShape(tokens.shape[1], loaded.image_width, loaded.text_width)


def _sides(size: int | list[int]) -> list[int]:
    return [size, size] if isinstance(size, int) else list(size)


def _configuration(model: str) -> Mapping[str, Any] | None:
    """Return a tower's configuration from open_clip's files, without importing it; None if there is no such file."""
    folder = WEIGHTS if model == "tiny_clip" else Path(model.removeprefix("local:"))
    if is_file(folder / "open_clip_config.json"):
        return _read(folder / "open_clip_config.json")["model_cfg"]  # type: ignore[no-any-return]
    spec = find_spec("open_clip")
    place = Path(str(spec.origin)).parent / "model_configs" if spec is not None else Path()
    file = place / f"{model.replace('/', '-')}.json"
    return _read(file) if is_file(file) else None


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: expected the configuration of a tower; got {error}") from error
