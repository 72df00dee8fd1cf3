"""The temperature of a loss, of one that takes logits and of one that is written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from edgeglass_diag.replaying.interventions.functions import Call, argument, change_calls, with_argument
from edgeglass_diag.replaying.interventions.means import register
from edgeglass_diag.replaying.interventions.places import line_of_program
from edgeglass_diag.replaying.interventions.similarities import OperandChange

_TAKE_LOGITS = (
    (functional, "cross_entropy"),
    (functional, "binary_cross_entropy_with_logits"),
    (torch, "log_softmax"),
    (Tensor, "log_softmax"),  # ``functional.log_softmax`` calls it
)


@register
@dataclass
class Temperature(OperandChange):
    """The logits of every cross-entropy times the factor, be it contrastive or a classification.

    So are those of a ``log_softmax``, of which losses are written. Of one that is written with ``logsumexp``, from
    which the right logits are taken, the product of both sides is scaled, from the second pass on.
    """

    name = "loss.temperature"
    losses: ClassVar[Sequence[tuple[Any, str]]] = ((torch, "logsumexp"), (Tensor, "logsumexp"))

    def attach(self) -> None:
        """Stand before what takes logits, besides."""
        super().attach()
        for owner, name in _TAKE_LOGITS:
            change_calls(owner, name, self._scaled)

    def _scaled(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        logits = argument(args, kwargs, 0, "input")
        if isinstance(logits, Tensor) and logits.requires_grad and torch.is_grad_enabled():
            self.applied += 1
            self.place = self.place or line_of_program()
            args, kwargs = with_argument(args, kwargs, 0, "input", logits * self.number)
        return call(*args, **kwargs)

    def operands(self, left: Tensor, right: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the left one scaled."""
        return self.changed(left), None

    def changed(self, rows: Tensor) -> Tensor | None:
        """Return scaled rows."""
        return rows * self.number if torch.is_grad_enabled() else None
