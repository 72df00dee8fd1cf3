"""What backward passes find in a few parameters of the first optimizer, give to them, and what of it is left."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from edgeglass_diag.measures.gradients import same_signs, sample
from edgeglass_diag.record.session import Session
from edgeglass_diag.record.shards import local_part
from edgeglass_diag.signals.parameters import (
    GRADIENT_CLEARED,
    GRADIENT_DROPPED,
    GRADIENT_MADE_FINITE,
    GRADIENT_UNCLEARED,
)
from edgeglass_diag.sites import Kind

_PARAMETERS = 8
"""How many parameters are looked at, evenly chosen."""

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


class BackwardPasses:
    """Follows gradients from the backward passes of a window to the step that ends it.

    Which parameters are looked at is known from the first step on: windows before have no passes.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._parameters: list[weakref.ref[Tensor]] = []
        self._passes: list[_Pass] = []
        self._weights: list[Tensor] = []
        self._batch: Mapping[str, Tensor] = {}
        self._first: Mapping[str, Tensor] = {}
        self._earlier: Mapping[str, Tensor] = {}
        self._going = False
        self._last: list[Tensor] = []
        self._alone = True

    def before_backward(self) -> None:
        """Note what is there before a backward pass."""
        session = self._session
        batch = session.take_batch()
        self._going = False
        if not self._parameters:
            return
        with session.measuring("optimizer", Kind.RECORDER):
            if self._passes:
                self._passes[-1].used = not session.gradients
            else:
                self._earlier, self._first = self._first, batch
            session.gradients.clear()
            weights = [sample(local_part(p)) for p in self._held()]
            apart = self._apart(weights, batch) if self._passes else torch.tensor(True)
            self._passes.append(_Pass(self._largest(), apart))
            self._weights, self._batch, self._going = weights, batch, True

    def after_backward(self) -> None:
        """Note what is there after a backward pass."""
        if self._going:
            with self._session.measuring("optimizer", Kind.RECORDER):
                self._passes[-1].given = self._largest()
                self._last = self._gradients()
                given = [p.grad for p in self._held() if p.grad is not None]
                self._session.gradients = {id(gradient): weakref.ref(gradient) for gradient in given}

    def another_steps(self) -> None:
        """Another optimizer steps: what it has used may be cleared."""
        self._alone = self._alone and not self._passes

    def before_step(self, held: Sequence[Tensor]) -> None:
        """Write what the passes found of earlier steps, lost among themselves, and what is left of the last.

        Args:
            held: parameters of the first optimizer that are trained.
        """
        with self._session.measuring("optimizer", Kind.RECORDER, held[0]):
            if self._passes:
                self._write(held[0].device)
        self.end_window()
        self._parameters = [weakref.ref(p) for p in held[:: -(-len(held) // _PARAMETERS)]]

    def end_window(self) -> None:
        """Forget the passes."""
        self._passes.clear()
        self._weights, self._batch, self._last = [], {}, []
        self._alone = True

    def _write(self, device: torch.device) -> None:
        add = self._session.buffer.add
        found = _on(device, (one.found for one in self._passes))
        given = _on(device, (one.given for one in self._passes))
        (now,) = _on(device, (self._largest(),))
        # Of several passes the one that found least: accumulation adds to gradients of its own step.
        add("", GRADIENT_UNCLEARED, torch.stack(found).amin())
        add("", GRADIENT_CLEARED, ((given[-1] > 0) & (now == 0)).float())
        # What is cleared before another pass is not mended: this batch takes no step.
        left = [*(value.where(value > 0, torch.nan) for value in found[1:]), now]
        mended = [~g.isfinite() & after.isfinite() for g, after in zip(given, left, strict=True)]
        add("", GRADIENT_MADE_FINITE, torch.stack(mended).any().float())
        if self._alone:
            add("", GRADIENT_DROPPED, self._dropped(device))

    def _dropped(self, device: torch.device) -> Tensor:
        """Share of the passes but the last whose gradients were cleared before the next and used for nothing: 0-d.

        Somebody may use them otherwise: a function that takes one (a noise scale, a sum made by hand) is seen, and so
        is who asks for the gradient of an input. A step that is tried (SAM) moves the weights, an attack on the inputs
        has the same batch for the next pass, and what was taken unseen gives the step other signs than the last pass.
        All these count as not dropped.
        """
        lost = []
        for this, following in pairwise(self._passes):
            facts = (this.given > 0, torch.tensor(not this.used), following.found == 0, following.apart)
            lost.append(torch.stack(_on(device, facts)).all())
        if not lost:
            return torch.zeros((), device=device)
        (kept,) = _on(device, (same_signs(self._last, self._gradients()) >= _KEPT,))
        return torch.stack(lost).float().mean() * kept

    def _apart(self, weights: list[Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """Whether the weights are those of the pass before, and the inputs are others: 0-d.

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
        """Samples of the gradients that are there."""
        return [sample(local_part(p.grad)) for p in self._held() if p.grad is not None]

    def _largest(self) -> Tensor:
        """Largest magnitude of the gradients, 0 without any: 0-d. Squares would overflow under a loss scale."""
        parts = [local_part(p.grad) for p in self._held() if p.grad is not None]
        given = [part for part in parts if part.numel()]
        if not given:
            return torch.zeros(())
        return torch.stack([largest.float() for largest in torch._foreach_norm(given, torch.inf)]).amax()


def _on(device: torch.device, facts: Iterable[Tensor]) -> list[Tensor]:
    return [fact.to(device, non_blocking=True).reshape(()) for fact in facts]
