"""Checkpoints as safetensors: weights, optimizer moments, random state. No pickle.

That of a whole model is one file; that of a sharded one a folder, to which each process writes what it holds.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from edgeglass_diag.user_input.files import is_file, is_folder, nothing_at, parsing, read_text
from edgeglass_diag.user_input.json_text import parse_json
from edgeglass_diag.user_input.limits import SETTINGS_BYTES

_ABOUT = "checkpoint.json"
"""Step and recipe of a sharded checkpoint; a folder without it is incomplete."""


def save_checkpoint(folder: Path, model: nn.Module, optimizer: Optimizer, *, step: int, recipe: dict[str, Any]) -> None:
    """Write the state after ``step`` optimizer steps to ``folder``, replacing what is there atomically.

    With several processes each calls it: rank 0 writes ``step-N.safetensors`` where every process has the whole model,
    and all write their parts to a folder ``step-N`` where it is sharded.
    """
    tensors: dict[str, Tensor] = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    tensors["rng"] = torch.get_rng_state()
    about = {"step": str(step), "recipe": json.dumps(recipe)}
    place = folder / f"step-{step:06d}"
    if any(isinstance(value, DTensor) for value in tensors.values()):
        _save_sharded(place, tensors, about)
    elif _is_first():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = place.with_suffix(".tmp")
        contiguous = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
        save_file(contiguous, temporary, metadata=about)
        temporary.replace(place.with_suffix(".safetensors"))


def _save_sharded(place: Path, tensors: dict[str, Tensor], about: dict[str, str]) -> None:
    # Fabric's own distributed checkpoint is the same, with a pickle beside the tensors.
    apart = {name: value.detach().clone() for name, value in tensors.items()}  # safetensors refuses shared memory
    save(apart, storage_writer=HuggingFaceStorageWriter(str(place), save_distributed=True))
    if _is_first():
        temporary = place / f"{_ABOUT}.tmp"
        temporary.write_text(json.dumps(about), encoding="utf-8")
        temporary.replace(place / _ABOUT)
    torch.distributed.barrier()


def _is_first() -> bool:
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def read_checkpoint(place: Path) -> tuple[dict[str, Tensor], int, dict[str, Any]]:
    """Return tensors, whole ones also of a sharded checkpoint, step and recipe.

    Raises:
        ValueError: if the file or folder is missing or is not a checkpoint of this training loop.
    """
    if is_folder(place):
        return _read_sharded(place)
    if not is_file(place):
        raise nothing_at(place, "checkpoint")
    with parsing(place, "a checkpoint of this training loop"), safe_open(place, framework="pt") as opened:
        recipe, step = _about(opened.metadata() or {}, place)
        return {name: opened.get_tensor(name) for name in opened.keys()}, step, recipe  # noqa: SIM118


def _read_sharded(place: Path) -> tuple[dict[str, Tensor], int, dict[str, Any]]:
    if not is_file(place / _ABOUT):
        raise nothing_at(place / _ABOUT, "checkpoint")
    text = read_text(place / _ABOUT, most=SETTINGS_BYTES)
    with parsing(place, "a checkpoint of this training loop"):
        recipe, step = _about(parse_json(text, str(place / _ABOUT)), place)
        reader = HuggingFaceStorageReader(str(place))
        kinds: dict[str, Any] = reader.read_metadata().state_dict_metadata
        tensors = {name: torch.empty(kind.size, dtype=kind.properties.dtype) for name, kind in kinds.items()}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # that is what is asked for
            load(tensors, storage_reader=reader, no_dist=True)
        return tensors, step, recipe


def _about(metadata: Any, place: Path) -> tuple[dict[str, Any], int]:
    recipe = parse_json(metadata["recipe"], f"{place}: recipe")
    if not isinstance(recipe, dict):
        raise ValueError(f"a recipe that is no mapping but {type(recipe).__name__}")
    return recipe, int(metadata["step"])


def restore(tensors: dict[str, Tensor], model: nn.Module) -> None:
    """Load the weights into a model that is not sharded yet."""
    own = model.state_dict()
    weights = {name[len("model.") :]: value for name, value in tensors.items() if name.startswith("model.")}
    model.load_state_dict({name: _placed(value, own.get(name, value)) for name, value in weights.items()})


def restore_optimizer(tensors: dict[str, Tensor], optimizer: Optimizer) -> None:
    """Load the moments, sharded as the weights are, and the random state."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            placed = value if key == "step" else _placed(value, weights[int(index)])
            state.setdefault(int(index), {})[key] = placed
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    torch.set_rng_state(tensors["rng"])


def _placed(value: Tensor, target: Tensor) -> Tensor:
    """Return a whole tensor as the target is placed; a scalar has one dimension where it is sharded and none else."""
    if value.numel() == 1 == target.numel():
        value = value.reshape(target.shape)
    if not isinstance(target, DTensor):
        return value
    # Each process has read the whole tensor, so that none needs to send it.
    own = value.to(target.device)
    return distribute_tensor(own, target.device_mesh, target.placements, src_data_rank=None)


def latest_checkpoint(folder: Path) -> Path:
    """Return the checkpoint of the highest step below ``folder/checkpoints``; a sharded one is returned itself.

    Raises:
        ValueError: if there is none.
    """
    if is_file(folder / _ABOUT):
        return folder
    below = folder / "checkpoints"
    found = [*below.glob("step-*.safetensors"), *(file.parent for file in below.glob(f"step-*/{_ABOUT}"))]
    if not found:
        raise ValueError(f"{folder} has no checkpoint (expected checkpoints/step-*)")
    return max(found, key=lambda place: place.stem)
