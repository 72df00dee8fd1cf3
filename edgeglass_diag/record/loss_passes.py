"""Observes the numbers that go backward, and which of a window's passes are about the loss of the step."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from edgeglass_diag.measures.gradients import samples
from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.nested import arguments_in, tensors_in
from edgeglass_diag.record.observer import EVERY_FUNCTION, Function, FunctionHandler, Observer, OptimizerStep
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.scaling import LossScaleObserver
from edgeglass_diag.record.shards import is_foreign, local_part
from edgeglass_diag.signals import Signal
from edgeglass_diag.signals.losses import LOSS_PASSES, LOSS_TOTAL
from edgeglass_diag.sites import Coverage, Kind, LossSite

_PARAMETERS = 4
"""How many parameters are looked at, evenly chosen: whoever tries other weights moves all of them."""
_NODES = 64
"""Nodes of a graph that are looked at: a number that stands for a loss has but factors and sums behind it."""

_grad: Any = Tensor.grad
_GRADIENT: Function = _grad.__get__

_Numbers = list[tuple[str, Signal, Tensor]]


@dataclass(slots=True)
class _Pass:
    """One backward pass.

    Attributes:
        here: whether it has the weights of the first pass since an optimizer stepped, 0-d.
        is_loss: whether its number was computed from a model, and not from gradients that are there already.
        rows: of a batch that was put together, (rows with gradients, all rows) of each tensor.
        numbers: what its gradients told.
    """

    here: Tensor
    is_loss: bool
    rows: frozenset[tuple[int, int]]
    numbers: _Numbers = field(default_factory=list)


class LossPasses(Observer):
    """Writes ``loss/total``, ``loss/passes`` and what the gradients of losses tell, summed over the passes of a step.

    A pass is no part of the step's loss where its weights are others than those that the step starts from (the second
    of SAM, https://arxiv.org/abs/2010.01412), or where its number was made of gradients or stands for a loss that went
    backward already (gradient caching, https://arxiv.org/abs/2101.06983). Where each pass has the whole batch before
    it, and gradients for its own part alone (``accum_freq`` of open_clip), the loss is that of one pass.

    Args:
        recording: state of the watch.
        scale: takes the factor of mixed precision off a number.

    Attributes:
        knows_loss: whether a loss function is known that something of this window's numbers comes of.
    """

    def __init__(self, recording: Recording, scale: LossScaleObserver) -> None:
        self._recording, self._scale = recording, scale
        self._passes: list[_Pass] = []
        self._parameters: list[weakref.ref[Tensor]] = []
        self._weights: list[Tensor] = []
        self._made_of_gradients: Facts[Tensor, bool] = Facts()
        self._rows: set[tuple[int, int]] = set()
        self.knows_loss = False

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions that put a batch together."""
        return dict.fromkeys((torch.cat, torch.concat, torch.concatenate), self._put_together)

    @property
    def functions_in_any_phase(self) -> Mapping[Function, FunctionHandler]:
        """All functions: any may take a gradient."""
        return {EVERY_FUNCTION: self._follow, _GRADIENT: self._take_gradient}

    def backward_begins(self, tensors: Sequence[Tensor], factors: Sequence[Tensor | None]) -> None:
        """Add the numbers among ``tensors``."""
        with self._recording.measuring("", Kind.LOSS):
            is_loss = not all(tensor in self._made_of_gradients or _is_cut_off(tensor) for tensor in tensors)
            self._passes.append(_Pass(self._here(), is_loss, frozenset(self._rows)))
            for tensor, factor in zip(tensors, factors, strict=False):
                if tensor.numel() == 1:
                    value = tensor.detach().double() * (1 if factor is None else factor.detach().double())
                    self.add("", LOSS_TOTAL, self._scale.unscaled(value).clone())
        self._rows.clear()
        self._made_of_gradients.prune()

    def add(self, path: str, signal: Signal, value: Tensor) -> None:
        """Add a number to the pass that runs: 0-d, a sum by nature."""
        if self._passes:
            self._passes[-1].numbers.append((path, signal, value.reshape(())))

    def after_step(self, step: OptimizerStep) -> None:
        """Take other weights for the step's own from now on."""
        self._weights = []

    def window_ends(self) -> None:
        """Write the sums."""
        if not self._recording.clock.is_whole:  # a window of which only the beginning was recorded has an untrue loss
            return
        known = [one for one in self._passes if one.is_loss] or self._passes
        add, share = self._recording.buffer.add, 1 / _parts(known)
        for one in known:
            for path, signal, value in one.numbers:
                add(path, signal, torch.where(one.here.to(value.device, non_blocking=True), value, 0.0) * share)
            add("", LOSS_PASSES, one.here.double() * share)
        if known and not self.knows_loss:
            site = LossSite(path="loss")
            self._recording.sites.cannot_observe(site, Coverage.UNKNOWN_LOSS)

    def forget(self) -> None:
        """Forget the passes of the window."""
        self._passes.clear()
        self._rows.clear()
        self._made_of_gradients.clear()
        self._weights, self.knows_loss = [], False

    def _put_together(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        parts = tensors_in(args[:1])
        if len(parts) > 1 and result.dim() == 2 and all(part.shape[1:] == result.shape[1:] for part in parts):
            moving = sum(len(part) for part in parts if part.requires_grad)
            if 0 < moving < len(result):
                self._rows.add((moving, len(result)))

    def _take_gradient(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if isinstance(result, Tensor) and not isinstance(args[0], Parameter):
            self._made_of_gradients.set(result, True)

    def _follow(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if self._made_of_gradients and any(tensor in self._made_of_gradients for tensor in arguments_in(args, kwargs)):
            for tensor in tensors_in([result]):
                self._made_of_gradients.set(tensor, True)

    def _here(self) -> Tensor:
        """Return whether the weights are those of the first pass since an optimizer stepped: 0-d."""
        weights = samples([local_part(parameter) for parameter in self._held()])
        if not weights or [w.shape for w in weights] != [w.shape for w in self._weights]:
            self._weights = weights
            return torch.ones((), dtype=torch.bool)
        same = [(a == b).all() for a, b in zip(weights, self._weights, strict=True)]
        return torch.stack([fact.to(same[0].device, non_blocking=True) for fact in same]).all()

    def _held(self) -> list[Tensor]:
        held = [parameter for reference in self._parameters if (parameter := reference()) is not None]
        if not held or len(held) < len(self._parameters):
            named = self._recording.naming.named_parameters
            moving = [p for _, p in named if p.requires_grad and not is_foreign(p)]
            held = moving[:: -(-len(moving) // _PARAMETERS) or 1]
            self._parameters = [weakref.ref(parameter) for parameter in held]
        return held


def _parts(passes: Sequence[_Pass]) -> int:
    """Return into how many passes one batch was divided, each of which has all of it before it: 1 where it was not."""
    whole = passes[0].rows if len(passes) > 1 else frozenset()
    for _, total in whole:
        moving = [next((rows for rows, all_rows in one.rows if all_rows == total), 0) for one in passes]
        if all(moving) and sum(moving) == total:
            return len(passes)
    return 1


def _is_cut_off(number: Tensor) -> bool:
    """Return whether nothing but numbers without a graph of their own is behind a number: it stands for a loss."""
    if number.grad_fn is None:
        return number.numel() == 1 and not isinstance(number, Parameter)
    leaves = list(_leaves(number.grad_fn))
    return bool(leaves) and all(leaf is not None and leaf.numel() == 1 for leaf in leaves)


def _leaves(node: Any) -> Iterator[Tensor | None]:
    """Yield the leaves behind a node, and None where there is more than was looked at or where they are weights."""
    nodes = [node]
    for _ in range(_NODES):
        if not nodes:
            return
        reached = nodes.pop()
        variable = getattr(reached, "variable", None)
        if variable is not None:
            yield None if isinstance(variable, Parameter) else variable
        nodes.extend(following for following, _ in reached.next_functions if following is not None)
    if nodes:
        yield None
