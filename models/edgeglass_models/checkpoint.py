"""Checkpoints as safetensors: weights, optimizer moments, random state. No pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from edgeglass_diag.user_input.files import is_file, nothing_at, parsing
from edgeglass_diag.user_input.json_text import parse_json


def save_checkpoint(file: Path, model: nn.Module, optimizer: Optimizer, *, step: int, recipe: dict[str, Any]) -> None:
    """Write the state after ``step`` optimizer steps; the file is replaced atomically."""
    tensors: dict[str, Tensor] = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    tensors["rng"] = torch.get_rng_state()
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    contiguous = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    save_file(contiguous, temporary, metadata={"step": str(step), "recipe": json.dumps(recipe)})
    temporary.replace(file)


def read_checkpoint(file: Path) -> tuple[dict[str, Tensor], int, dict[str, Any]]:
    """Return tensors, step and recipe of a checkpoint.

    Raises:
        ValueError: if the file is missing or is not a checkpoint of this training loop.
    """
    if not is_file(file):
        raise nothing_at(file, "checkpoint")
    with parsing(file, "a checkpoint of this training loop"), safe_open(file, framework="pt") as opened:
        metadata = opened.metadata() or {}
        recipe = parse_json(metadata["recipe"], f"{file}: recipe")
        if not isinstance(recipe, dict):
            raise ValueError(f"a recipe that is no mapping but {type(recipe).__name__}")
        return {name: opened.get_tensor(name) for name in opened.keys()}, int(metadata["step"]), recipe  # noqa: SIM118


def restore(tensors: dict[str, Tensor], model: nn.Module, optimizer: Optimizer | None = None) -> None:
    """Load the weights; with an optimizer also its moments and the random state."""
    model.load_state_dict({name[len("model.") :]: v for name, v in tensors.items() if name.startswith("model.")})
    if optimizer is None:
        return
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    torch.set_rng_state(tensors["rng"])


def latest_checkpoint(folder: Path) -> Path:
    """Return the checkpoint of the highest step below ``folder/checkpoints``.

    Raises:
        ValueError: if there is none.
    """
    found = sorted((folder / "checkpoints").glob("step-*.safetensors"))
    if not found:
        raise ValueError(f"{folder} has no checkpoint (expected checkpoints/step-*.safetensors)")
    return found[-1]
