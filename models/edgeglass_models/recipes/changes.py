"""Single changes that may cure a failing run of a recipe."""

from __future__ import annotations

from typing import Any

from edgeglass_models.recipes.settings import Recipe

Changes = dict[str, dict[str, Any]]


def changes(recipe: Recipe) -> Changes:
    """Return changes by name, each as ``section.key`` -> value; changes without an effect are left out."""
    found = {**_optimisation(recipe), **_model(recipe)}
    settings = recipe.model_dump(mode="json")
    return {
        name: change
        for name, change in found.items()
        if any(settings[key.partition(".")[0]][key.partition(".")[2]] != value for key, value in change.items())
    }


def _optimisation(recipe: Recipe) -> Changes:
    optim, steps = recipe.optim, recipe.train.max_steps or 100
    return {
        "lr / 10": {"optim.lr": optim.lr / 10},
        "lr / 100": {"optim.lr": optim.lr / 100},
        "lr x 10": {"optim.lr": optim.lr * 10},
        "warm-up": {"optim.warmup_steps": max(optim.warmup_steps, steps // 5)},
        "no warm-up": {"optim.warmup_steps": 0},
        "gradient clipping": {"optim.max_grad_norm": 1.0},
        "no weight decay": {"optim.weight_decay": 0.0},
        "float32": {"train.precision": "32-true"},
    }


def _model(recipe: Recipe) -> Changes:
    found: Changes = {
        "temperature 0.07": {"model.temperature": 0.07},
        "learned scale": {"model.learned_scale": True, "model.temperature": 0.07},
        "all prefixes in each step": {"loss.sample_single_mrl_dim": False},
    }
    if recipe.model.pooling == "perceiver":
        found |= {
            "LayerNorms": {"model.norm": "pre_shared"},
            "latents of std 1": {"model.init": "randn"},
            "attention pooling": {"model.pooling": "attention"},
        }
    return found
