"""Recipes as jobs: the provider behind the entry point ``edgeglass_diag.recipes``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from edgeglass_diag.user_input.files import is_folder
from edgeglass_models.recipes.loading import changed_recipe, load_recipes, shipped_names
from edgeglass_models.recipes.settings import DataSettings, Recipe, TowerSettings
from edgeglass_models.recipes.starts import begin

if TYPE_CHECKING:
    from torch import Tensor

    from edgeglass_models.align import AlignmentModel
    from edgeglass_models.data.splits import FeatureSplits
    from edgeglass_models.faults.case import Case
    from edgeglass_models.views import PairViews

__all__ = ["RecipeJob", "begin", "changes", "embed", "names", "plan", "replay"]

_NEVER = 10**6


def names() -> list[str]:
    """Return the names of the shipped recipes."""
    return shipped_names()


def plan(target: str, overrides: Iterable[str] = ()) -> list[RecipeJob]:
    """Return the training runs of a recipe, by name or YAML file.

    Raises:
        ValueError: if the recipe is unknown or invalid; the message has one line.
    """
    return [RecipeJob(recipe) for recipe in load_recipes(target, overrides)]


def cases() -> list[Case]:
    """Return trainings with known faults, and healthy ones, on which detection is measured."""
    from edgeglass_models.faults.catalogue import all_cases

    return all_cases()


def replay(settings: Mapping[str, Any], *, steps: int, seed: int) -> RecipeJob:
    """Return a job: the first ``steps`` optimizer steps of the run with these settings, with this seed.

    The learning-rate schedule is that of the whole run: its horizon does not shrink to ``steps``. One process trains
    what several did: the batches are the same.

    Args:
        settings: those in a run's header, with ``total_steps`` if the length of the whole run is known.
        steps: number of steps.
        seed: of weights and batches.

    Raises:
        ValueError: if the settings are not those of a recipe, or are incompatible.
    """
    content = {name: value for name, value in settings.items() if name != "total_steps"}
    try:
        recipe = Recipe.model_validate({**content, "seed": seed})
    except ValidationError as error:
        said = (" ".join(each["msg"].split()).removeprefix("Value error, ") for each in error.errors())
        raise ValueError("; ".join(said)) from error
    whole = recipe.optim.horizon or settings.get("total_steps")
    optim = recipe.optim.model_copy(update={"horizon": whole})
    alone = {"devices": 1, "num_nodes": 1, "strategy": "auto"}
    train = recipe.train.model_copy(update={"max_steps": steps, "epochs": _NEVER, "validate_every": _NEVER, **alone})
    return RecipeJob(recipe.model_copy(update={"optim": optim, "train": train}))


def changes(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return changes that may cure a failing run with these settings, by name.

    Raises:
        ValueError: if the settings are not those of a recipe.
    """
    from edgeglass_models.recipes.changes import changes as changes_of

    return changes_of(replay(settings, steps=settings.get("total_steps") or 100, seed=0).recipe)


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
        """Compute or load the frozen features; return the number of optimizer steps.

        Raises:
            ValueError: if weights or data are missing, data are unusable, or fewer than one batch.
        """
        from edgeglass_models.batches import total_steps

        return total_steps(self.recipe, len(_splits(self.recipe.data, self.recipe.tower).train))

    @contextmanager
    def together(self, folder: Path) -> Iterator[Path]:
        """Start or meet the other processes of the run; give rank 0's folder, and wait for all at the end.

        Raises:
            ValueError: if the machine lacks the devices, or torchrun or SLURM started another number of processes.
        """
        if self.recipe.train.processes == 1:
            yield folder
            return
        from edgeglass_models.processes import launch

        fabric = launch(self.recipe.train)
        yield Path(fabric.broadcast(str(folder)))
        fabric.barrier()

    def train(self, out: Path, log: Callable[[Mapping[str, float], int], None]) -> dict[str, Any]:
        """Train into the folder ``out``, from its latest checkpoint on if it has one; return losses and recalls."""
        from edgeglass_models.checkpoint import latest_checkpoint
        from edgeglass_models.train import train

        resume = None
        with suppress(ValueError):  # no checkpoint: a new run, or one that ended before its first
            resume = latest_checkpoint(out)
        return asdict(train(self.recipe, _splits(self.recipe.data, self.recipe.tower), out, log=log, resume=resume))


@dataclass(frozen=True)
class Embedded:
    """Embeddings of N images (N, W) and M captions (M, W), the row of each caption's image (M,), and the MRL dims."""

    image: Tensor
    text: Tensor
    image_index: Tensor
    dims: list[int]


def embed(path: Path, split: str = "test", *, data: Path | None = None, overrides: Iterable[str] = ()) -> Embedded:
    """Return the embeddings of a split by the model of a run folder or checkpoint file.

    A row whose norm overflows is zero, as after the model's normalisation.

    Args:
        path: run folder, whose latest checkpoint is used, or checkpoint file.
        split: ``train``, ``val``, ``test``, or ``all`` for the user's own data.
        data: other data than the run's; they replace all data settings.
        overrides: ``data.key=value``.

    Raises:
        ValueError: if ``path`` has no checkpoint of a recipe, the split is unknown, or the data are unusable.
    """
    from edgeglass_models.build import build_model
    from edgeglass_models.checkpoint import latest_checkpoint, read_checkpoint, restore
    from edgeglass_models.data.splits import ALL, SPLITS, load_splits, load_whole
    from edgeglass_models.train import embed as embed_pairs
    from edgeglass_models.train import zero_overflowing

    if split not in (*SPLITS, ALL):
        raise ValueError(f"split: expected one of {', '.join((*SPLITS, ALL))}, got {split!r}")
    file = latest_checkpoint(path) if is_folder(path) else path
    tensors, _, content = read_checkpoint(file)
    if data is not None:
        content = {**content, "data": {"path": data}}
    for override in overrides:
        if not override.startswith("data."):
            raise ValueError(f"--set {override}: only settings of data can be changed for a trained model")
    recipe = changed_recipe(content, overrides, file)
    # Not cached: between two calls in one process the data may change.
    whole = split == ALL
    pairs = load_whole(recipe.data, recipe.tower) if whole else getattr(load_splits(recipe.data, recipe.tower), split)
    model = build_model(recipe.model, recipe.loss, image_width=pairs.image_width, text_width=pairs.text_width)
    restore(tensors, model)
    image, text = (zero_overflowing(side) for side in embed_pairs(model, pairs))
    return Embedded(image, text, pairs.image_index, list(model.head.dims))


def views(path: Path, split: str = "test", count: int = 256) -> PairViews:
    """Return views of the first ``count`` pairs of a split: pixels, tokens, latents (of a resampler) and words.

    Raises:
        ValueError: if ``path`` has no checkpoint of a recipe, or the split is unknown.
    """
    from edgeglass_models.data.splits import pair_splits
    from edgeglass_models.towers import load_tower
    from edgeglass_models.views import make_views

    model, recipe = load_trained(path, split)
    pairs = pair_splits(recipe.data)[split]
    chosen = [pairs[i] for i in range(min(count, len(pairs)))]
    return make_views(load_tower(recipe.tower.model, recipe.tower.pretrained), model, chosen)


def load_trained(path: Path, split: str = "test") -> tuple[AlignmentModel, Recipe]:
    """Return model and recipe of a run's latest checkpoint, or of a checkpoint file.

    Raises:
        ValueError: if ``path`` has no checkpoint of a recipe, or the split is unknown.
    """
    from edgeglass_models.build import build_model
    from edgeglass_models.checkpoint import latest_checkpoint, read_checkpoint, restore
    from edgeglass_models.data.splits import SPLITS

    if split not in SPLITS:
        raise ValueError(f"split: expected one of {', '.join(SPLITS)}, got {split!r}")
    tensors, _, content = read_checkpoint(latest_checkpoint(path) if is_folder(path) else path)
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
