"""Observes by what ranks that train together can be compared when their records are read: hashes of what they hold."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from edgeglass_diag import site_paths
from edgeglass_diag.measures.digests import as_readings, digest, joint_digest
from edgeglass_diag.measures.gradients import sample
from edgeglass_diag.own_rank import known_world_size
from edgeglass_diag.record.module_stack import Frame
from edgeglass_diag.record.module_tree import own_content
from edgeglass_diag.record.observer import Observer, OptimizerStep
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.shards import is_measurable, is_sharded
from edgeglass_diag.signals import Signal
from edgeglass_diag.signals.ranks import (
    BUFFER_DIGEST,
    COLLECTIVES,
    GRADIENTS_AVERAGED,
    GRADIENTS_JOINED,
    NORM_SAMPLES,
    STATE_DIGEST,
    STATE_HELD,
    WEIGHT_DIGEST,
)
from edgeglass_diag.sites import Kind

_DENSE = 10
"""Weights are read in each recorded window before this step, and so many steps apart from then on."""

_LARGEST_BUFFER = 2**20
"""Entries of a buffer of which all are read; of a larger one a sample."""


def trains_with_others() -> bool:
    """Return whether several processes train together."""
    return (known_world_size() or 1) > 1


class RankDigestObserver(Observer):
    """Writes hashes of weights, optimizer state and buffers where several processes train; nothing elsewhere.

    Nothing is sent to another process. Weights and state are those before the step, where ranks that hold the same
    model agree whatever the step does in between. Buffers are those that the first forward pass of the window meets,
    behind the broadcast of DistributedDataParallel. Of what that wraps frozen weights are taken too, of large ones a
    sample: it broadcasts them once. Shards are left out: ranks hold different ones.

    Args:
        recording: state of the watch.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._due = 0
        self._digests: dict[Signal, dict[str, Tensor]] = {}
        self._averages: bool | None = None
        self._joins = False
        self._frozen: list[Tensor] = []
        self._applies: bool | None = None
        self._is_counted = False

    def module_begins(self, outermost: Frame, arguments: tuple[Any, ...]) -> None:
        """Take the buffers of the module that is called, and whether its gradients will be averaged."""
        frame = self._recording.stack.frames[-1]
        if not outermost.is_training or not self._applies_here():
            return
        module = frame.module
        if isinstance(module, DistributedDataParallel):
            self._averages = bool(module.require_backward_grad_sync)
            self._frozen = [p for p in module.parameters() if not p.requires_grad and _is_replica(p)]
            self._joins = bool(getattr(getattr(module, "_join_config", None), "enable", False))
        known, path = self._of(BUFFER_DIGEST), site_paths.first_call(frame.path)
        held = [] if path in known else _buffers(module)
        if held:
            known[path] = digest(torch.stack([digest(_bounded(values)) for values in held]))
            if _is_local(module) and arguments and isinstance(arguments[0], Tensor):
                self._recording.buffer.add(path, NORM_SAMPLES, float(len(arguments[0])))

    def before_step(self, step: OptimizerStep) -> None:
        """Take the weights and the state of an optimizer that is about to step, if they are due."""
        if not self._applies_here():
            return
        self._count_collectives()
        if _DENSE <= step.window < self._due:
            return
        weights, states = self._of(WEIGHT_DIGEST), self._of(STATE_DIGEST)
        with self._recording.measuring("ranks", Kind.RECORDER):
            held = 0
            for parameter in step.held:
                if not _is_replica(parameter):
                    continue
                name = self._recording.naming.parameter(parameter)
                if name not in weights:  # of an optimizer within another the outer one comes first
                    weights[name] = digest(parameter)
                kept = _state(step.optimizer, parameter)
                if kept:
                    states[name] = digest(torch.stack([digest(values) for values in kept]))
                held += bool(kept)
            self._recording.buffer.add("", STATE_HELD, float(held))
            for parameter in self._frozen:
                name = self._recording.naming.parameter(parameter)
                if name not in weights:
                    weights[name] = digest(_bounded(parameter))

    def window_ends(self) -> None:
        """Write what was taken."""
        if not self._recording.clock.is_whole:
            return
        add, add_each = self._recording.buffer.add, self._recording.buffer.add_each
        if self._averages is not None:
            add("", GRADIENTS_AVERAGED, float(self._averages))
            if self._joins:
                add("", GRADIENTS_JOINED, 1.0)
        for signal, digests in self._digests.items():
            if not digests:
                continue
            device = next(iter(digests.values())).device
            here = {name: value for name, value in digests.items() if value.device == device}
            add_each(list(here), signal, as_readings(list(here.values())))
            add("", signal, joint_digest(list(here.values())))
            if signal is WEIGHT_DIGEST:
                self._due = self._recording.clock.step + _DENSE

    def forget(self) -> None:
        """Forget the window."""
        self._digests.clear()
        self._averages = self._applies = None
        self._frozen.clear()
        self._is_counted = False

    def _count_collectives(self) -> None:
        """Write how many collective operations there were, before the first step of the window."""
        count = None if self._is_counted else _collectives()
        self._is_counted = True
        if count is not None:
            self._recording.buffer.add("", COLLECTIVES, float(count))

    def _applies_here(self) -> bool:
        if self._applies is None:
            self._applies = trains_with_others()
        return self._applies

    def _of(self, signal: Signal) -> dict[str, Tensor]:
        return self._digests.setdefault(signal, {})


def _collectives() -> int | None:
    """Return how many collective operations the default process group has begun; None where it does not tell.

    Each rank counts for itself what all ranks begin in the same order.
    """
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return None
    try:
        count: int = getattr(torch.distributed.group.WORLD, "_get_sequence_number_for_group")()  # noqa: B009
        return count
    except (AttributeError, RuntimeError):  # a backend that does not count
        return None


def _is_replica(parameter: Tensor) -> bool:
    """Return whether a parameter is the same on all ranks: no shard of FSDP, DeepSpeed, or a tensor-parallel layer."""
    if is_sharded(parameter) or not is_measurable(parameter):
        return False
    marks = ("_fsdp_flattened", "_is_flat_param", "ds_id", "tensor_model_parallel")
    return not any(getattr(parameter, mark, False) is not False for mark in marks)


def _buffers(module: nn.Module) -> list[Tensor]:
    """Return the buffers of a module itself that belong to its state."""
    passing = module._non_persistent_buffers_set
    buffers = own_content(module, "_buffers")
    kept = (values for name, values in buffers.items() if name not in passing and isinstance(values, Tensor))
    return [values for values in kept if is_measurable(values) and not is_sharded(values)]


def _bounded(values: Tensor) -> Tensor:
    return values if values.numel() <= _LARGEST_BUFFER else sample(values)


def _is_local(module: nn.Module) -> bool:
    """Return whether a module normalises by statistics of this process's batch alone, as BatchNorm of torch does."""
    return isinstance(module, _BatchNorm) and type(module).forward is _BatchNorm.forward and module.training


def _state(optimizer: Optimizer | None, parameter: Tensor) -> list[Tensor]:
    """Return samples of what an optimizer keeps for each entry of a parameter, in an order of their names."""
    state = {} if optimizer is None else optimizer.state.get(parameter, {})
    kept = [values for _, values in sorted(state.items(), key=lambda item: str(item[0]))]
    return [sample(v) for v in kept if isinstance(v, Tensor) and v.shape == parameter.shape and is_measurable(v)]
