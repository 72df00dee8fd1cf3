"""What a model is called with in one forward pass: the samples' own data, apart from what was computed of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from edgeglass_diag.record.nested import tensors_in


class InputKind(StrEnum):
    """What a tensor of data holds."""

    VALUES = "values"
    TOKENS = "tokens"
    MASK = "mask"
    OTHER = "other"


@dataclass
class Input:
    """One tensor of a batch, as (B, ...).

    Attributes:
        number: its place among the inputs of the forward pass, from 0.
        tensor: the object that the program holds; its ``data`` may be replaced.
        kind: what it holds.
    """

    number: int
    tensor: Tensor
    kind: InputKind


@dataclass
class Inputs:
    """The inputs of a forward pass in the order in which models are called with them.

    What a function of torch makes of an input is no input, though another model be called with it.
    """

    found: list[Input] = field(default_factory=list)
    _derived: dict[int, Tensor] = field(default_factory=dict)

    def take(self, arguments: object) -> list[Input]:
        """Return the inputs among the arguments of a call that are new."""
        new: list[Input] = []
        for tensor in tensors_in(arguments):
            if not isinstance(tensor, torch.nn.Parameter) and id(tensor) not in self._derived and tensor.dim():
                new.append(Input(len(self.found) + len(new), tensor, _kind(tensor)))
                self._derived[id(tensor)] = tensor
        self.found += new
        return new

    def follow(self, result: object, arguments: object) -> None:
        """Note what a function made of inputs."""
        if any(id(tensor) in self._derived for tensor in tensors_in(arguments)):
            self.derive(result)

    def derive(self, result: object) -> None:
        """Note tensors that were computed."""
        self._derived.update((id(tensor), tensor) for tensor in tensors_in(result))  # kept, or their ids return


class Following(TorchFunctionMode):
    """Notes what the functions of torch make of inputs."""

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self._inputs = inputs

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, and note what comes out."""
        result = function(*args, **(kwargs or {}))
        self._inputs.follow(result, (args, kwargs or {}))
        return result


def masks_of(inputs: list[Input], tokens: Input) -> list[Input]:
    """Return the masks of a tensor of tokens: those of its shape (B, L)."""
    return [each for each in inputs if each.kind is InputKind.MASK and each.tensor.shape == tokens.tensor.shape]


def _kind(tensor: Tensor) -> InputKind:
    if tensor.dim() < 2 or tensor.is_complex() or tensor.layout is not torch.strided:
        return InputKind.OTHER
    if tensor.dtype == torch.bool or (tensor.dim() == 2 and _is_zero_or_one(tensor)):
        return InputKind.MASK
    if tensor.is_floating_point():
        return InputKind.VALUES
    return InputKind.TOKENS if tensor.dim() == 2 else InputKind.OTHER


def _is_zero_or_one(tensor: Tensor) -> bool:
    return bool(((tensor == 0) | (tensor == 1)).all())
