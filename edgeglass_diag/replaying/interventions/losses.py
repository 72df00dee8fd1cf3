"""Changes of what a cross-entropy is given: logits, labels, a softmax too many."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.weak import WeakIdKeyDictionary

from edgeglass_diag.replaying.interventions.functions import Call, argument, change_calls, with_argument
from edgeglass_diag.replaying.interventions.means import Means, register
from edgeglass_diag.replaying.interventions.places import line_of_program

_LOSSES = ("cross_entropy", "binary_cross_entropy_with_logits")
"""Losses that are given logits; their modules call these functions."""


@dataclass
class LossChange(Means):
    """A change of the logits or labels that ``cross_entropy`` and its binary form are given with gradients.

    A loss that is written out, as ``-log_softmax(scores).diag()``, is left alone: its labels stand nowhere.
    """

    asks_models = False

    def attach(self) -> None:
        """Stand before the losses."""
        for name in _LOSSES:
            change_calls(functional, name, self._called)

    def _called(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        logits, labels = argument(args, kwargs, 0, "input"), argument(args, kwargs, 1, "target")
        if isinstance(logits, Tensor) and isinstance(labels, Tensor) and torch.is_grad_enabled():
            changed = self.changed(logits, labels)
            if changed is not None:
                self.applied += 1
                self.place = self.place or line_of_program()
                args, kwargs = with_argument(args, kwargs, 0, "input", changed[0])
                args, kwargs = with_argument(args, kwargs, 1, "target", changed[1])
        return call(*args, **kwargs)

    @abstractmethod
    def changed(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return other logits and labels; None where these are left alone."""


@register
@dataclass
class DiagonalLabels(LossChange):
    """Labels of a square matrix of logits, one whole number for each row, are the numbers of the rows.

    A symmetric matrix is left alone: there a batch is compared with itself, and the diagonal is no answer.
    """

    name = "loss.diagonal_labels"

    def changed(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return the diagonal where the labels are others."""
        if logits.dim() != 2 or logits.shape[0] != logits.shape[1] or labels.shape != logits.shape[:1]:
            return None
        diagonal = torch.arange(len(logits), device=labels.device, dtype=labels.dtype)
        is_symmetric = torch.allclose(logits.triu(1), logits.tril(-1).T)
        if is_symmetric or labels.is_floating_point() or torch.equal(labels, diagonal):
            return None
        return logits, diagonal


@register
@dataclass
class NoSoftmax(LossChange):
    """A ``cross_entropy`` that is given what a softmax or log_softmax has returned gets what that was given."""

    name = "loss.no_softmax"
    _inputs: Any = field(default_factory=WeakIdKeyDictionary)

    def attach(self) -> None:
        """Note what softmax returns, and stand before the losses."""
        super().attach()
        for owner in (torch, Tensor):
            for name in ("softmax", "log_softmax", "sigmoid"):
                change_calls(owner, name, self._noted)

    def _noted(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = call(*args, **kwargs)
        given = argument(args, kwargs, 0, "input")
        if isinstance(result, Tensor) and isinstance(given, Tensor) and result.requires_grad:
            self._inputs[result] = given
        return result

    def changed(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return what the softmax was given, transposed where its result was."""
        given = self._inputs.get(logits)
        whole = logits._base
        if given is None and whole is not None and logits.stride() == whole.stride()[::-1]:
            given = self._inputs.get(whole)
            given = given if given is None else given.t()
        return None if given is None else (given, labels)
