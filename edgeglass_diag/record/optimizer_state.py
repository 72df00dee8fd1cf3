"""What an optimizer keeps from step to step: whether it is there, and how many steps it counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from edgeglass_diag import site_paths
from edgeglass_diag.measures.gradients import sample
from edgeglass_diag.record.observer import OptimizerStep
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.shards import local_part
from edgeglass_diag.signals.parameters import OPTIMIZER_STATE, OPTIMIZER_STEPS

WINDOWS = 10
"""Steps of a process up to which it is looked at: what no checkpoint has brought back is missing in the first one."""

_SOME = 8
"""Parameters that are looked at, evenly chosen among those with a gradient."""

_COUNT = "step"


def write_state(recording: Recording, step: OptimizerStep) -> None:
    """Write what the optimizer keeps of some parameters before it steps. Nothing waits for the device.

    Args:
        recording: state of the watch.
        step: about to be taken.
    """
    optimizer, clock = step.optimizer, recording.clock
    if optimizer is None or not step.moving or clock.step - clock.first > WINDOWS:
        return
    some = step.moving[:: -(-len(step.moving) // _SOME)]
    site = site_paths.group(step.number, 0)
    kept = [_kept(optimizer, parameter) for parameter in some]
    device = some[0].device
    held = [_has_content(tensors, device) for tensors in kept]
    recording.buffer.add(site, OPTIMIZER_STATE, torch.stack(held).mean())
    counts = [state[_COUNT] for parameter in some if _COUNT in (state := optimizer.state.get(parameter, {}))]
    if counts and isinstance(counts[0], (int, float, Tensor)):
        recording.buffer.add(site, OPTIMIZER_STEPS, counts[0])
    elif not counts and not any(kept):
        recording.buffer.add(site, OPTIMIZER_STEPS, 0.0)


def _kept(optimizer: Optimizer, parameter: Tensor) -> Sequence[Tensor]:
    """Return what an optimizer keeps of a parameter besides a count."""
    state: dict[str, Any] = optimizer.state.get(parameter, {})
    return [local_part(value) for name, value in state.items() if name != _COUNT and isinstance(value, Tensor)]


def _has_content(tensors: Sequence[Tensor], device: torch.device) -> Tensor:
    """Return 1 where an entry of a sample of the tensors is not 0, else 0, 0-d on the device."""
    found = [(sample(values) != 0).any().to(device) for values in tensors if values.numel()]
    return torch.stack(found).any().float() if found else torch.zeros((), device=device)
