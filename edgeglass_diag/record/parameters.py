"""Observes gradients before and after clipping, and what the optimizer step truly changes."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from edgeglass_diag import site_paths
from edgeglass_diag.measures.gradients import norms, reverted, rounded_away, row_signals, samples, update_ratios
from edgeglass_diag.record.clipping import ClippingObserver
from edgeglass_diag.record.observer import Observer, OptimizerStep
from edgeglass_diag.record.optimizer_state import write_state
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.scaling import LossScaleObserver
from edgeglass_diag.record.shards import is_sharded, local_part, local_parts
from edgeglass_diag.record.window_norms import WindowNorms
from edgeglass_diag.signals import family
from edgeglass_diag.signals.parameters import (
    GRADIENT_NONFINITE,
    GRADIENT_NORM,
    OPTIMIZER_BEGUN,
    UPDATE_RATIO,
    UPDATE_REVERTED,
    UPDATE_ROUNDED_AWAY,
    WEIGHT_NORM,
    WEIGHT_ROW_SIGNAL,
)
from edgeglass_diag.sites import Kind, ParameterSite

_SIGNALS = family("optimizer")
_SETTINGS = ("lr", "weight_decay", "decoupled_weight_decay", "momentum", "eps")

_HALF = (torch.float16, torch.bfloat16)

_BETWEEN = 8
"""Matrices whose change between steps is measured."""

_DENSE = 10
"""Weights are measured in each recorded window up to this step, and so many steps apart from then on: an update is some
1e-3 of them, and to read all is the dearest thing that the recorder does."""


@dataclass(frozen=True, slots=True)
class _Held:
    """What is kept of an optimizer's parameters over its step."""

    names: list[str]
    parameters: Sequence[Tensor]
    tensors: list[Tensor]
    samples: list[Tensor]


@dataclass(frozen=True, slots=True)
class _Step:
    """Samples of a few matrices before and after a step of the first optimizer."""

    window: int
    weights: list[weakref.ref[Tensor]]
    before: list[Tensor]
    after: list[Tensor]


class ParameterObserver(Observer):
    """Reads parameters around an optimizer step of a recorded window.

    Of sharded parameters (FSDP2, DTensor) each process reads its own shard, without communication: a recorder
    that waits for other ranks could hang them. The store puts the norms together when it is read.

    Args:
        recording: state of the watch.
        clips: knows which gradients were clipped.
        scale: knows whether gradients carry the factor of mixed precision.
    """

    def __init__(self, recording: Recording, clips: ClippingObserver, scale: LossScaleObserver) -> None:
        self._recording, self._clips, self._scale = recording, clips, scale
        self._before: dict[int, _Held] = {}
        self._due: dict[str, int] = {}
        self._taken: _Step | None = None
        self._norms = WindowNorms(recording)
        self._sites: dict[str, tuple[Hashable, ParameterSite]] = {}

    def before_step(self, step: OptimizerStep) -> None:
        """Record gradients and settings, and keep a sample of the weights for comparison."""
        self._settings(step)
        if step.optimizer is not None:
            self._recording.buffer.add("", OPTIMIZER_BEGUN, float(self._recording.clock.begun(step.optimizer)))
            with self._recording.measuring("optimizer", Kind.RECORDER):
                write_state(self._recording, step)
        self._norms.count(step)
        if step.number == 0:
            self._write_reverted(step)
        if not step.moving:
            return
        recording, moving = self._recording, step.moving
        names = recording.naming.paths_of(moving)
        groups = {id(p): i for i, group in enumerate(step.groups) for p in group["params"]}
        for name, parameter in zip(names, moving, strict=True):
            recording.sites.register_site(self._site(name, parameter, step, groups.get(id(parameter))))
        with recording.measuring("optimizer", Kind.RECORDER):
            weights = local_parts(moving)
            self._weigh(names, weights, step.window)
            self._gradients(step, names)
            self._before[step.number] = _Held(names, moving, weights, step.samples(moving, weights))

    def after_step(self, step: OptimizerStep) -> None:
        """Record the true update of each parameter, and whether its rows differ."""
        held = self._before.pop(step.number, None)
        if held is None:
            return
        add_each = self._recording.buffer.add_each
        with self._recording.measuring("optimizer", Kind.RECORDER):
            now = local_parts(held.parameters)  # a step may give them other memory
            after = samples(now)
            add_each(held.names, UPDATE_RATIO, update_ratios(held.samples, after))
            self._write_rounding(held, after)
            if step.optimizer is not None:
                self._note_state(step.optimizer, held)
            if step.number == 0:
                self._taken = _few_matrices(step.window, held, after)
            rows = [(n, w) for n, w in zip(held.names, now, strict=True) if _rows(w) > 1]
            if rows:
                add_each([name for name, _ in rows], WEIGHT_ROW_SIGNAL, row_signals([w for _, w in rows]))

    def window_ends(self) -> None:
        """Write the norms over all optimizers of the window."""
        if self._recording.clock.is_whole:
            with self._recording.measuring("optimizer", Kind.RECORDER):
                self._norms.write()

    def forget(self) -> None:
        """Release the samples of the weights."""
        self._before.clear()
        self._norms.forget()

    def _site(self, name: str, parameter: Tensor, step: OptimizerStep, group: int | None) -> ParameterSite:
        """Return the site of a parameter: the same object as long as nothing of it has changed."""
        number = None if step.optimizer is None else step.number
        sharded = is_sharded(parameter)
        facts = (parameter.shape, parameter.dtype, number, group, sharded)
        known = self._sites.get(name)
        if known is None or known[0] != facts or sharded:
            known = self._sites[name] = facts, _site_of(name, parameter, step, group)
        return known[1]

    def _gradients(self, step: OptimizerStep, moving: list[str]) -> None:
        """Record the gradients that are there."""
        given = [(name, grad) for name, p in zip(moving, step.moving, strict=True) if (grad := p.grad) is not None]
        if not given:
            return
        names, gradients = [name for name, _ in given], [gradient for _, gradient in given]
        lengths = norms(local_parts(gradients))
        factor = getattr(step.optimizer, "grad_scale", None)  # a fused optimizer unscales within its kernel
        lengths = lengths if factor is None else lengths / factor.to(lengths)
        self._recording.buffer.add_each(names, GRADIENT_NORM, lengths)
        self._recording.buffer.add_each(names, GRADIENT_NONFINITE, (~torch.isfinite(lengths)).float())
        self._add_norms(step.number, gradients, lengths)

    def _add_norms(self, number: int, gradients: list[Tensor], lengths: Tensor) -> None:
        """Take the norm of all gradients before and after clipping, and whether they carried the loss scale then."""
        scaled = self._scale.unscales_in_step and self._clips.any_of(gradients)
        before, after = self._clips.norm_before(gradients, lengths), lengths.square().sum().sqrt()
        self._norms.add(number, before, after, clipped_scaled=scaled)

    def _weigh(self, names: list[str], weights: list[Tensor], step: int) -> None:
        due = [(n, w) for n, w in zip(names, weights, strict=True) if step >= self._due.get(n, 0)]
        if due:
            some = [name for name, _ in due]
            self._recording.buffer.add_each(some, WEIGHT_NORM, norms([weight for _, weight in due]))
            self._due |= dict.fromkeys(some, step + 1 if step < _DENSE else step + _DENSE)

    def _write_rounding(self, held: _Held, after: list[Tensor]) -> None:
        """Write what rounding left of weights in half precision, which lose steps below half their numbers' spacing."""
        half = [place for place, values in enumerate(after) if values.dtype in _HALF and _rows(held.tensors[place]) > 1]
        if half:
            shares = rounded_away([held.samples[place] for place in half], [after[place] for place in half])
            self._recording.buffer.add_each([held.names[place] for place in half], UPDATE_ROUNDED_AWAY, shares)

    def _note_state(self, optimizer: Optimizer, held: _Held) -> None:
        """Note of weights in half precision whether what the optimizer keeps of them is so too."""
        for name, parameter in zip(held.names, held.parameters, strict=True):
            if parameter.dtype in _HALF and (kept := _half_state(optimizer, parameter)):
                self._recording.sites.set_facts(ParameterSite(path=name), state_dtype=kept)

    def _write_reverted(self, step: OptimizerStep) -> None:
        """Write which share of the step before was taken back since: -<o, u> / <u, u>, median over a few matrices.

        u is what the step changed, o what something else has changed until this step.
        """
        taken, self._taken = self._taken, None
        if taken is None or taken.window != step.window - 1:
            return
        with self._recording.measuring("optimizer", Kind.RECORDER):
            now = [p for reference in taken.weights if (p := reference()) is not None]
            later = step.samples(now)
            if [values.shape for values in later] == [values.shape for values in taken.after]:
                shares = reverted(taken.before, taken.after, later)
                self._recording.buffer.add("", UPDATE_REVERTED, shares.median())

    def _settings(self, step: OptimizerStep) -> None:
        for index, group in enumerate(step.groups):
            site = site_paths.group(step.number, index)
            betas = group.get("betas")
            settings = {"beta1": betas[0], "beta2": betas[1]} if isinstance(betas, tuple) and len(betas) == 2 else {}
            settings |= {name: group[name] for name in _SETTINGS if name in group}
            for name, value in settings.items():
                if isinstance(value, (int, float, Tensor)):
                    self._recording.buffer.add(site, _SIGNALS[name], value)


def _few_matrices(window: int, held: _Held, after: list[Tensor]) -> _Step | None:
    """Return evenly chosen matrices on one device; None where there is none."""
    device = held.tensors[0].device
    places = [i for i, w in enumerate(held.tensors) if _rows(w) > 1 and w.device == device]
    some = places[:: -(-len(places) // _BETWEEN)] if places else []
    if not some:
        return None
    weights = [weakref.ref(held.parameters[i]) for i in some]
    return _Step(window, weights, [held.samples[i] for i in some], [after[i] for i in some])


def _rows(weight: Tensor) -> int:
    if weight.dim() < 2:  # as half of the parameters of most models
        return 1
    sizes = [size for size in weight.shape if size > 1]
    return sizes[0] if len(sizes) > 1 else 1


def _site_of(path: str, parameter: Tensor, step: OptimizerStep, group: int | None) -> ParameterSite:
    local = tuple(local_part(parameter).shape) if is_sharded(parameter) else None
    return ParameterSite(
        path=path,
        shape=tuple(parameter.shape),
        local_shape=local,
        optimizer=None if step.optimizer is None else step.number,
        group=group,
        dtype=_name(parameter.dtype),
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _half_state(optimizer: Optimizer, parameter: Tensor) -> str:
    """Return the dtype of what an optimizer keeps for each entry of a parameter; empty unless in half precision."""
    state = optimizer.state.get(parameter, {})
    kept = (value for value in state.values() if isinstance(value, Tensor) and value.shape == parameter.shape)
    return next((_name(value.dtype) for value in kept if value.dtype in _HALF), "")
