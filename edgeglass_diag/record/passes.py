"""What backward passes find in a few parameters of the first optimizer, give to them, and what of it is left."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgeglass_diag.measures.gradients import norms, same_signs, sample
from edgeglass_diag.record.session import Session
from edgeglass_diag.record.shards import local_part

_PARAMETERS = 8
"""How many parameters are looked at, evenly chosen."""


@dataclass(slots=True)
class _Pass:
    """One backward pass.

    Attributes:
        found: sum of the gradients' norms before it.
        apart: whether it has the weights of the pass before it and none of its batch, True of the first.
        given: sum of the gradients' norms after it.
    """

    found: Tensor
    apart: Tensor
    given: Tensor | None = None


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
        self._last: list[Tensor] = []
        self._alone = True

    def before_backward(self) -> None:
        """Note what is there before a backward pass."""
        batch = self._session.take_batch()
        if self._parameters:
            with self._session.measuring("optimizer", "optimizer"):
                weights = [sample(local_part(p)) for p in self._held()]
                apart = self._apart(weights, batch) if self._passes else torch.tensor(True)
                self._passes.append(_Pass(self._length(), apart))
                self._weights, self._batch = weights, batch

    def after_backward(self) -> None:
        """Note what is there after a backward pass."""
        if self._passes:
            with self._session.measuring("optimizer", "optimizer"):
                self._passes[-1].given = self._length()
                self._last = self._gradients()

    def another_steps(self) -> None:
        """Another optimizer steps: what it has used may be cleared."""
        self._alone = self._alone and not self._passes

    def before_step(self, held: Sequence[Tensor]) -> None:
        """Write what the passes found of earlier steps, lost among themselves, and what is left of the last.

        Args:
            held: parameters of the first optimizer that are trained.
        """
        with self._session.measuring("optimizer", "optimizer", held[0]):
            if self._passes:
                add, device = self._session.buffer.add, held[0].device
                # Of several passes the one that found least: accumulation adds to gradients of its own step.
                found = [one.found.to(device, non_blocking=True) for one in self._passes]
                add("", "gradient/stale", torch.stack(found).amin())
                last, now = self._passes[-1].given, self._length().to(device, non_blocking=True)
                if last is not None:
                    add("", "gradient/cleared", ((last.to(device, non_blocking=True) > 0) & (now == 0)).float())
                given = [one.given.to(device, non_blocking=True) for one in self._passes if one.given is not None]
                if given:
                    broken = ~torch.stack(given).isfinite().all()
                    add("", "gradient/made_finite", (broken & now.isfinite()).float())
                if len(self._passes) > 1 and self._alone:
                    add("", "gradient/dropped", self._dropped(device))
        self.end_window()
        self._parameters = [weakref.ref(p) for p in held[:: -(-len(held) // _PARAMETERS)]]

    def end_window(self) -> None:
        """Forget the passes."""
        self._passes.clear()
        self._weights, self._batch, self._last = [], {}, []
        self._alone = True

    def _dropped(self, device: torch.device) -> Tensor:
        """Share of the passes but the last whose gradients were cleared before the next and used for nothing: 0-d.

        Somebody may use them otherwise. A step that is tried (SAM) moves the weights, an attack on the inputs has the
        same batch for the next pass, a sum made by hand (PCGrad, clipping of each sample) gives the step other signs
        than the last pass. All these count as not dropped.
        """
        lost = []
        for this, following in zip(self._passes, self._passes[1:], strict=False):
            if this.given is None:
                return torch.zeros((), device=device)
            facts = (this.given > 0, following.found == 0, following.apart)
            lost.append(torch.stack([fact.to(device, non_blocking=True) for fact in facts]).all())
        used = same_signs(self._last, self._gradients()).to(device, non_blocking=True) >= 0.99
        return torch.stack(lost).float().mean() * used

    def _apart(self, weights: list[Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """Whether the weights are those of the pass before, and each input is another: 0-d."""
        shared = self._batch.keys() & batch.keys()
        if not shared or len(weights) != len(self._weights):
            return torch.tensor(False)
        others = [self._batch[site] != batch[site] for site in shared]
        still = [(a == b).all() for a, b in zip(self._weights, weights, strict=True)]
        device = weights[0].device
        return torch.stack([fact.to(device, non_blocking=True).reshape(()) for fact in (*others, *still)]).all()

    def _held(self) -> list[Tensor]:
        return [p for reference in self._parameters if (p := reference()) is not None]

    def _gradients(self) -> list[Tensor]:
        """Samples of the gradients that are there."""
        return [sample(local_part(p.grad)) for p in self._held() if p.grad is not None]

    def _length(self) -> Tensor:
        """Sum of the gradients' norms."""
        given = [p.grad for p in self._held() if p.grad is not None]
        return norms([local_part(g) for g in given]).sum() if given else torch.zeros(())
