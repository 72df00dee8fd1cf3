"""Observes what backward passes find in a few parameters, give to them, and what of it the step finds."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from edgeglass_diag.measures.gradients import cosine, same_signs, samples
from edgeglass_diag.record.batches import BatchObserver
from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.nested import arguments_in
from edgeglass_diag.record.observer import EVERY_FUNCTION, Function, FunctionHandler, Observer, OptimizerStep
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.shards import local_parts
from edgeglass_diag.signals.parameters import (
    GRADIENT_CLEARED,
    GRADIENT_DROPPED,
    GRADIENT_KEPT,
    GRADIENT_MADE_FINITE,
    GRADIENT_UNCLEARED,
)
from edgeglass_diag.sites import Kind

_PARAMETERS = 8
"""How many parameters are looked at, evenly chosen."""

_CLEARING = {"__get__", "__set__", "zero_", "_foreach_zero_", "detach_", "requires_grad_"}
"""Names of what ``zero_grad`` does with a gradient."""

_grad: Any = Tensor.grad
_GRADIENT: Function = _grad.__get__

_KEPT = 0.99
"""Share of a gradient's signs that the step must find as the last pass left them. Scaling and clipping keep all; one in
a hundred may underflow in half precision."""


@dataclass(slots=True)
class _Pass:
    """One backward pass.

    Attributes:
        found: the gradients' largest magnitude before it.
        apart: whether it has the weights of the pass before it and another batch, True of the first.
        given: the gradients' largest magnitude after it, 0 where it failed.
        used: whether a function has taken one of these gradients before the next pass.
    """

    found: Tensor
    apart: Tensor
    given: Tensor = field(default_factory=lambda: torch.zeros(()))
    used: bool = True


class BackwardPassObserver(Observer):
    """Follows gradients from the backward passes of a window to the step that ends it.

    Which parameters of the first optimizer are looked at is known from its first step on: windows before have no
    passes.

    Args:
        recording: state of the watch.
        batches: knows what models were called with.
    """

    def __init__(self, recording: Recording, batches: BatchObserver) -> None:
        self._recording, self._batches = recording, batches
        self._unused: Facts[Tensor, bool] = Facts()  # gradients of the last pass, until a function takes one
        self._parameters: list[weakref.ref[Tensor]] = []
        self._passes: list[_Pass] = []
        self._weights: list[Tensor] = []
        self._batch: Mapping[str, Tensor] = {}
        self._first: Mapping[str, Tensor] = {}
        self._earlier: Mapping[str, Tensor] = {}
        self._going = False
        self._last: list[Tensor] = []
        self._alone = True

    @property
    def functions_in_any_phase(self) -> Mapping[Function, FunctionHandler]:
        """All functions: any may take a gradient."""
        return {EVERY_FUNCTION: self._note_use}

    @property
    def follows_uses(self) -> bool:
        """Whether a gradient is there that no function has taken."""
        return bool(self._unused)

    def backward_begins(self, tensors: Sequence[Tensor], factors: Sequence[Tensor | None]) -> None:
        """Note what is there before a backward pass."""
        batch = self._batches.take_fingerprints()
        self._going = False
        if not self._parameters:
            return
        if self._passes:
            self._passes[-1].used = not self._unused
        else:
            self._earlier, self._first = self._first, batch
        self._unused.clear()
        weights = samples(local_parts(self._held()))
        apart = self._apart(weights, batch) if self._passes else torch.tensor(True)
        self._passes.append(_Pass(self._largest(), apart))
        self._weights, self._batch, self._going = weights, batch, True

    def backward_ends(self) -> None:
        """Note what is there after a backward pass."""
        if self._going:
            self._passes[-1].given = self._largest()
            self._last = self._gradients()
            for parameter in self._held():
                if parameter.grad is not None:
                    self._unused.set(parameter.grad, True)

    def before_step(self, step: OptimizerStep) -> None:
        """Write what the passes found of earlier steps, lost among themselves, and what is left of the last."""
        if torch._C._current_graph_task_id() != -1:  # it steps inside of the pass, parameter by parameter
            self._forget_passes()
            return
        if step.number > 0:  # what another optimizer has used may be cleared
            self._alone = self._alone and not self._passes
            return
        followed = step.moving or [parameter for parameter in step.held if parameter.requires_grad]
        if not followed:
            return
        with self._recording.measuring("optimizer", Kind.RECORDER):
            if self._passes:
                self._write(followed[0].device, by_hand=step.optimizer is None)
        self._forget_passes()
        self._parameters = [weakref.ref(p) for p in followed[:: -(-len(followed) // _PARAMETERS)]]

    def forget(self) -> None:
        """Forget the passes of the window."""
        self._forget_passes()
        self._unused.clear()

    def _note_use(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if not self._unused:
            return
        if getattr(func, "__name__", "") not in _CLEARING:
            if any(tensor in self._unused for tensor in arguments_in(args, kwargs)):
                self._unused.clear()
        elif func == _GRADIENT and not isinstance(args[0], Parameter):
            self._unused.clear()  # the pass was made for the gradient of an input

    def _forget_passes(self) -> None:
        self._passes.clear()
        self._weights, self._batch, self._last = [], {}, []
        self._alone, self._going = True, False

    def _write(self, device: torch.device, *, by_hand: bool) -> None:
        add = self._recording.buffer.add
        found = _on(device, (one.found for one in self._passes))
        given = _on(device, (one.given for one in self._passes))
        (now,) = _on(device, (self._largest(),))
        # Of several passes the one that found least: accumulation adds to gradients of its own step.
        add("", GRADIENT_UNCLEARED, torch.stack(found).amin())
        if by_hand:  # what is written may come of copies of the gradients, which are cleared by then
            return
        add("", GRADIENT_CLEARED, ((given[-1] > 0) & (now == 0)).float())
        # What is cleared before another pass is not mended: this batch takes no step.
        left = [*(value.where(value > 0, torch.nan) for value in found[1:]), now]
        mended = [~g.isfinite() & after.isfinite() for g, after in zip(given, left, strict=True)]
        add("", GRADIENT_MADE_FINITE, torch.stack(mended).any().float())
        if self._alone:
            last, taken = self._last, self._gradients()
            add("", GRADIENT_DROPPED, self._dropped(device, taken))
            if last and [a.shape for a in last] == [b.shape for b in taken] and not _may_be_joined():
                add("", GRADIENT_KEPT, cosine(last, taken))

    def _dropped(self, device: torch.device, taken: list[Tensor]) -> Tensor:
        """Return the share of the passes but the last whose gradients were cleared before the next and unused: 0-d.

        They may be used otherwise: a function that takes one (a noise scale, a sum made by hand) is seen, and so
        is a question for the gradient of an input. A step that is tried (SAM) moves the weights, an attack on the
        inputs has the same batch for the next pass, and what was taken unseen gives the step other signs than the last
        pass. All these count as not dropped.
        """
        lost = []
        for this, following in pairwise(self._passes):
            facts = (this.given > 0, torch.tensor(not this.used), following.found == 0, following.apart)
            lost.append(torch.stack(_on(device, facts)).all())
        if not lost:
            return torch.zeros((), device=device)
        (kept,) = _on(device, (same_signs(self._last, taken) >= _KEPT,))
        return torch.stack(lost).float().mean() * kept

    def _apart(self, weights: list[Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """Return whether the weights are those of the pass before, and the inputs are others: 0-d.

        An input that is the same from window to window, as prompts and masks are, tells nothing.
        """
        shared = self._batch.keys() & batch.keys()
        if not shared or not weights or [w.shape for w in weights] != [w.shape for w in self._weights]:
            return torch.tensor(False)
        differ = {site: self._batch[site] != batch[site] for site in shared}
        others = [d | (batch[site] == self._earlier.get(site, torch.nan)) for site, d in differ.items()]
        still = [(a == b).all() for a, b in zip(self._weights, weights, strict=True)]
        facts = (*others, torch.stack(_on(weights[0].device, differ.values())).any(), *still)
        return torch.stack(_on(weights[0].device, facts)).all()

    def _held(self) -> list[Tensor]:
        return [p for reference in self._parameters if (p := reference()) is not None]

    def _gradients(self) -> list[Tensor]:
        """Return samples of the gradients that are there."""
        return samples(local_parts(p.grad for p in self._held() if p.grad is not None))

    def _largest(self) -> Tensor:
        """Return the largest magnitude of the gradients, 0 without any: 0-d. Squares overflow under a loss scale."""
        parts = local_parts(p.grad for p in self._held() if p.grad is not None)
        given = [part for part in parts if part.numel()]
        if not given:
            return torch.zeros(())
        return torch.stack([largest.float() for largest in torch._foreach_norm(given, torch.inf)]).amax()


def _may_be_joined() -> bool:
    """Return whether a loop may join its gradients with those of other processes between the pass and the step."""
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def _on(device: torch.device, facts: Iterable[Tensor]) -> list[Tensor]:
    return [fact.to(device, non_blocking=True).reshape(()) for fact in facts]
