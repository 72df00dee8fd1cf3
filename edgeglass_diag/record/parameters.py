"""Gradients before and after clipping, and what the optimizer step truly changes."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from edgeglass_diag import site_paths
from edgeglass_diag.measures.gradients import norms, row_signals, sample, undone, unmoved, update_ratios
from edgeglass_diag.record.backward_passes import BackwardPasses
from edgeglass_diag.record.clipping import ClipTap
from edgeglass_diag.record.functions import Function, Observer
from edgeglass_diag.record.session import Session
from edgeglass_diag.record.shards import is_sharded, local_part
from edgeglass_diag.signals import family
from edgeglass_diag.signals.parameters import (
    GRADIENT_CLIP_FACTOR,
    GRADIENT_CLIPPED_SCALED,
    GRADIENT_NONFINITE,
    GRADIENT_NORM,
    GRADIENT_NORM_CLIPPED,
    UPDATE_RATIO,
    UPDATE_REVERTED,
    UPDATE_ROUNDED_AWAY,
    WEIGHT_NORM,
    WEIGHT_ROW_SIGNAL,
)
from edgeglass_diag.sites import Coverage, Kind, ParameterSite

_SIGNALS = family("optimizer")
_SETTINGS = ("lr", "weight_decay", "momentum", "eps")

_HALF = (torch.float16, torch.bfloat16)

_BETWEEN = 8
"""Matrices that are looked at between steps."""

_DENSE = 10
"""Weights are measured in each recorded window up to this step, and so many steps apart from then on: an update is some
1e-3 of them, and to read all is the dearest thing that the recorder does."""


@dataclass(frozen=True, slots=True)
class _Held:
    """What is kept of an optimizer's parameters over its step."""

    names: list[str]
    parameters: list[Tensor]
    tensors: list[Tensor]
    samples: list[Tensor]


@dataclass(frozen=True, slots=True)
class _Step:
    """Samples of a few matrices before and after a step of the first optimizer."""

    number: int
    weights: list[weakref.ref[Tensor]]
    before: list[Tensor]
    after: list[Tensor]


class ParameterTap:
    """Reads parameters around an optimizer step of a recorded window.

    Of sharded parameters (FSDP2, DTensor) each process reads its own shard, without communication: a recorder
    that waits for other ranks could hang them. The store puts the norms together when it is read.

    Attributes:
        passes: to be told of backward passes.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._before: dict[int, _Held] = {}
        self._due: dict[str, int] = {}
        self._clip = ClipTap(session)
        self.passes = BackwardPasses(session)
        self._optimizers: list[weakref.ref[Optimizer]] = []
        self._taken: _Step | None = None

    @property
    def observers(self) -> Mapping[Function, Observer]:
        """The functions observed, with and without gradients."""
        return self._clip.observers

    def before_step(self, optimizer: Optimizer, step: int) -> None:
        """Record gradients and settings, and keep a sample of the weights for comparison."""
        number = self._number(optimizer)
        self._settings(optimizer, number)
        held = [p for group in optimizer.param_groups for p in group["params"]]
        self._say_what_is_missing(held)
        moving = [p for p in held if p.grad is not None]
        followed = moving or [p for p in held if p.requires_grad]
        if number == 0:
            self._say_what_was_undone(step)
            if followed:
                self.passes.before_step(followed)
        else:
            self.passes.another_steps()
        if not moving:
            return
        session = self._session
        names = [session.naming.parameter(p) for p in moving]
        groups = {id(p): i for i, group in enumerate(optimizer.param_groups) for p in group["params"]}
        for name, parameter in zip(names, moving, strict=True):
            session.sites.register_site(_site_of(name, parameter, number, groups[id(parameter)]))
        with session.measuring("optimizer", Kind.RECORDER, moving[0]):
            weights = [local_part(p) for p in moving]
            gradients = [local_part(p.grad) for p in moving if p.grad is not None]
            lengths = norms(gradients)
            scale = getattr(optimizer, "grad_scale", None)  # a fused optimizer unscales within its kernel
            lengths = lengths if scale is None else lengths / scale.to(lengths)
            add = session.buffer.add_each
            add(names, GRADIENT_NORM, lengths)
            add(names, GRADIENT_NONFINITE, (~torch.isfinite(lengths)).float())
            self._weigh(names, weights, step)
            self._say_what_was_clipped(site_paths.optimizer(number), moving, lengths)
            self._before[id(optimizer)] = _Held(names, moving, weights, [sample(w) for w in weights])

    def _say_what_was_clipped(self, site: str, moving: list[Tensor], lengths: Tensor) -> None:
        """The norm of all gradients before and after clipping, and whether they carried the loss scale meanwhile."""
        session = self._session
        total = lengths.square().sum().sqrt()
        given = [p.grad for p in moving if p.grad is not None]
        before = self._clip.norm_before(given, lengths)
        if session.unscaled_by_step and self._clip.any_of(given):
            session.buffer.add(site, GRADIENT_CLIPPED_SCALED, 1.0)
        session.buffer.add(site, GRADIENT_NORM, before)
        session.buffer.add(site, GRADIENT_NORM_CLIPPED, total)
        session.buffer.add(site, GRADIENT_CLIP_FACTOR, torch.where(before == 0, 1.0, total / before))

    def _weigh(self, names: list[str], weights: list[Tensor], step: int) -> None:
        due = [(n, w) for n, w in zip(names, weights, strict=True) if step >= self._due.get(n, 0)]
        if due:
            some = [name for name, _ in due]
            self._session.buffer.add_each(some, WEIGHT_NORM, norms([weight for _, weight in due]))
            self._due |= dict.fromkeys(some, step + 1 if step < _DENSE else step + _DENSE)

    def after_step(self, optimizer: Optimizer, step: int) -> None:
        """Record the true update of each parameter, and whether its rows differ."""
        held = self._before.pop(id(optimizer), None)
        if held is None:
            return
        session = self._session
        with session.measuring("optimizer", Kind.RECORDER, held.tensors[0]):
            after = [sample(w) for w in held.tensors]
            session.buffer.add_each(held.names, UPDATE_RATIO, update_ratios(held.samples, after))
            self._say_what_rounding_left(held, after)
            if self._number(optimizer) == 0:
                self._taken = _few_matrices(step, held, after)
            rows = [(n, w) for n, w in zip(held.names, held.tensors, strict=True) if _rows(w) > 1]
            if rows:
                signals = row_signals([w for _, w in rows])
                session.buffer.add_each([name for name, _ in rows], WEIGHT_ROW_SIGNAL, signals)

    def _say_what_rounding_left(self, held: _Held, after: list[Tensor]) -> None:
        """Of weights in half precision, which lose steps below half the spacing of their numbers."""
        half = [place for place, values in enumerate(after) if values.dtype in _HALF and _rows(held.tensors[place]) > 1]
        if half:
            shares = unmoved([held.samples[place] for place in half], [after[place] for place in half])
            self._session.buffer.add_each([held.names[place] for place in half], UPDATE_ROUNDED_AWAY, shares)

    def end_window(self) -> None:
        """Release the samples of the weights."""
        self._before.clear()
        self.passes.end_window()
        self._clip.end_window()

    def _say_what_was_undone(self, step: int) -> None:
        """Which share of the step before was taken back since, over a few matrices: -<o, u> / <u, u>, their median.

        u is what the step changed, o what something else has changed until this step.
        """
        taken, self._taken = self._taken, None
        if taken is None or taken.number != step - 1:
            return
        with self._session.measuring("optimizer", Kind.RECORDER, taken.after[0]):
            now = [p for reference in taken.weights if (p := reference()) is not None]
            later = [sample(local_part(p)) for p in now]
            if [values.shape for values in later] == [values.shape for values in taken.after]:
                shares = undone(taken.before, taken.after, later)
                self._session.buffer.add("", UPDATE_REVERTED, shares.median())

    def _number(self, optimizer: Optimizer) -> int:
        """0 for the first; one that comes when another is gone takes its number."""
        known = [reference() for reference in self._optimizers]
        for number, other in enumerate(known):
            if other is optimizer:
                return number
        number = known.index(None) if None in known else len(known)
        self._optimizers[number : number + 1] = [weakref.ref(optimizer)]
        return number

    def _settings(self, optimizer: Optimizer, number: int) -> None:
        for index, group in enumerate(optimizer.param_groups):
            site = site_paths.group(number, index)
            betas = group.get("betas")
            settings = {"beta1": betas[0], "beta2": betas[1]} if isinstance(betas, tuple) and len(betas) == 2 else {}
            settings |= {name: group[name] for name in _SETTINGS if name in group}
            for name, value in settings.items():
                if isinstance(value, (int, float, Tensor)):
                    self._session.buffer.add(site, _SIGNALS[name], value)

    def _say_what_is_missing(self, held: list[Tensor]) -> None:
        for parameter in held:
            if parameter.grad is None:
                site = ParameterSite(path=self._session.naming.parameter(parameter))
                trained = parameter.requires_grad
                coverage = Coverage.HELD_WITHOUT_GRADIENT if trained else Coverage.HELD_FROZEN
                self._session.sites.cannot_observe(site, coverage)


def _few_matrices(step: int, held: _Held, after: list[Tensor]) -> _Step | None:
    """Evenly chosen matrices on one device; None where there is none."""
    device = held.tensors[0].device
    places = [i for i, w in enumerate(held.tensors) if _rows(w) > 1 and w.device == device]
    some = places[:: -(-len(places) // _BETWEEN)] if places else []
    if not some:
        return None
    weights = [weakref.ref(held.parameters[i]) for i in some]
    return _Step(step, weights, [held.samples[i] for i in some], [after[i] for i in some])


def _rows(weight: Tensor) -> int:
    sizes = [size for size in weight.shape if size > 1]
    return sizes[0] if len(sizes) > 1 else 1


def _site_of(path: str, parameter: Tensor, optimizer: int, group: int) -> ParameterSite:
    local = tuple(local_part(parameter).shape) if is_sharded(parameter) else None
    return ParameterSite(path=path, shape=tuple(parameter.shape), local_shape=local, optimizer=optimizer, group=group)
