"""The status of each parameter before the first optimizer step: trainable, held by an optimizer, reached."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from edgeglass_diag.record.shards import local_part


@dataclass(frozen=True, slots=True)
class ParameterStatus:
    """One parameter between the backward pass and the step.

    Attributes:
        trainable: whether it requires a gradient.
        optimizer: whether an optimizer holds it; None if no optimizer is known.
        gradient: norm of its gradient, None if none reached it.
        rows: number of its units (rows), 0 for vectors and scalars.
        unreached: rows whose gradient is exactly zero, None without gradient.
    """

    trainable: bool
    optimizer: bool | None
    gradient: float | None
    rows: int
    unreached: int | None


@torch.no_grad()
def parameter_statuses(
    named: Iterable[tuple[str, Tensor]], optimizers: Sequence[Optimizer] | None = None
) -> dict[str, ParameterStatus]:
    """Return the status of each parameter by name.

    Args:
        named: parameters with their names.
        optimizers: all optimizers that exist; None if they are not known.
    """
    held = None
    if optimizers is not None:
        held = {id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    return {name: _status(p, None if held is None else id(p) in held) for name, p in named}


def living_optimizers() -> list[Optimizer]:
    """Return all optimizers of this process that are alive."""
    return [o for o in gc.get_objects() if issubclass(type(o), Optimizer) and "param_groups" in o.__dict__]


def _status(parameter: Tensor, held: bool | None) -> ParameterStatus:
    rows = parameter.shape[0] if parameter.dim() > 1 else 0
    if parameter.grad is None:
        return ParameterStatus(parameter.requires_grad, held, None, rows, None)
    gradient = local_part(parameter.grad)
    gradient = gradient.to_dense() if gradient.is_sparse else gradient
    unreached = int((gradient.flatten(1) == 0).all(1).sum()) if rows and gradient.dim() > 1 else 0
    return ParameterStatus(parameter.requires_grad, held, float(gradient.norm()), rows, unreached)
