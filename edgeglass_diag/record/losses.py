"""Observes losses that choose among candidates, at their functions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.loss_readings import ChanceLevel, LossReadings
from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.torch_functions import LOG_SOFTMAX, LOGSUMEXP, RESHAPES, bind
from edgeglass_diag.signals.losses import (
    LOSS_LABEL_SMOOTHING,
    LOSS_TARGET_ENTROPY,
    LOSS_TARGET_GRADIENT,
    LOSS_VALUE,
)
from edgeglass_diag.sites import Kind, LossFunction, LossSite, Task

_KEPT_LOGITS = 2**22
"""Logits that are kept with their log-softmax; of more, as captioners have, the log-softmax must do."""

_ROW_DIMS: tuple[object, ...] = (1, -1, (1,), (-1,), [1], [-1])


class LossObserver(Observer):
    """Writes ``loss/*`` of cross-entropy, ``nll_loss`` of a log-softmax, and losses written with ``logsumexp``.

    Args:
        recording: state of the watch.
        readings: writes what all losses have in common.
    """

    def __init__(self, recording: Recording, readings: LossReadings) -> None:
        self._recording, self._readings = recording, readings
        self._logits: Facts[Tensor, Tensor] = Facts()
        self._positions: Facts[Tensor, bool] = Facts()  # logits of all positions of sequences, as rows

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed."""
        table: dict[Function, FunctionHandler] = {
            functional.cross_entropy: self._cross_entropy,
            functional.nll_loss: self._nll_loss,
        }
        table |= dict.fromkeys(LOGSUMEXP, self._logsumexp) | dict.fromkeys(RESHAPES, self._reshape)
        return table | dict.fromkeys(LOG_SOFTMAX, self._log_softmax)

    def forget(self) -> None:
        """Release the logits of the window."""
        self._logits.clear()
        self._positions.clear()

    def _cross_entropy(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        self._classified(LossFunction.CROSS_ENTROPY, given, given["input"], result)

    def _reshape(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if isinstance(result, Tensor) and result.dim() == 2 and result.requires_grad and args[0].dim() == 3:
            self._positions.set(result, args[0].shape[-1] == result.shape[-1])

    def _log_softmax(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if isinstance(result, Tensor) and result.numel() <= _KEPT_LOGITS:
            self._logits.prune()
            self._logits.set(result, bind(func, args, kwargs)["input"])

    def _logsumexp(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """A loss written as the logarithm of its softmax's denominator, less the right logits."""
        recording, given = self._recording, bind(func, args, kwargs)
        logits = given["input"]
        if logits.dim() != 2 or recording.sources.product(logits) is None:
            return
        path = recording.stack.loss_path(LossFunction.LOGSUMEXP)
        with recording.measuring(path, Kind.LOSS):
            rows = logits.detach() if given["dim"] in _ROW_DIMS else logits.detach().mT
            site = LossSite(path=path, function=LossFunction.LOGSUMEXP, task=Task.CONTRASTIVE)
            recording.sites.register_site(site)
            self._readings.logits(path, logits, rows, len(rows))

    def _nll_loss(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        logits = self._logits.get(given["input"])
        self._classified(LossFunction.NLL_LOSS, given, given["input"] if logits is None else logits, result)

    def _classified(self, function: LossFunction, given: Mapping[str, Any], logits: Tensor, result: Tensor) -> None:
        """Write a loss over classes: logits (N, C) or (N, C, ...), targets as indices or as probabilities."""
        recording, target = self._recording, given["target"]
        if logits.numel() == 0:
            return
        path, reduction = recording.stack.loss_path(function), str(given.get("reduction", "mean"))
        with recording.measuring(path, Kind.LOSS):
            rows = _as_rows(logits.detach())
            indices = None if target.is_floating_point() else target.reshape(-1)
            everyone = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
            counted = everyone if indices is None else indices != given.get("ignore_index", -100)
            chance = self._readings.logits(path, logits, rows, counted.sum())
            task = self._task(logits, target)
            recording.sites.register_site(LossSite(path=path, function=function, reduction=reduction, task=task))
            add = partial(recording.buffer.add, path)
            total = result.detach().double().sum()
            add(LOSS_VALUE, total if reduction == "mean" else total / counted.sum().double())
            add(LOSS_LABEL_SMOOTHING, float(given.get("label_smoothing", 0.0)))
            add(LOSS_TARGET_GRADIENT, float(target.requires_grad))
            add(LOSS_TARGET_ENTROPY, 0.0 if indices is not None else _entropy(target.detach()))
            if indices is not None:
                self._readings.answers(path, rows, indices, counted)
                self._readings.pairing(logits, rows, torch.where(counted, indices, -1))
            count = _count(given.get("weight"), indices, counted, reduction)
            level = ChanceLevel(chance * count.reshape(result.shape), chance)
            self._readings.follow(path, result, lambda: level)

    def _task(self, logits: Tensor, target: Tensor) -> Task:
        """Return what is asked for: the classes of a contrast are samples, of which each row has its own."""
        sources = self._recording.sources
        rows, classes = logits.shape[0], logits.shape[-1]
        if sources.product(logits) is not None and (target.is_floating_point() or classes % rows == 0):
            return Task.CONTRASTIVE
        if logits.dim() == 3 or self._positions.get(logits):
            return Task.GENERATION
        given = target.is_floating_point() and sources.sources([target])
        return Task.DISTILLATION if given else Task.CLASSIFICATION


def _count(weight: Tensor | None, indices: Tensor | None, counted: Tensor, reduction: str) -> Tensor:
    """Return how much each entry of a result counts: (N,) without reduction, else 0-d."""
    share = counted.double()
    if weight is not None and indices is not None:
        share = share * weight.double()[indices.clamp(min=0)]
    return {"mean": share.new_ones(()), "sum": share.sum(), "none": share}[reduction]


def _entropy(target: Tensor) -> Tensor:
    """Return the mean entropy of target distributions (N, C, ...) over classes, in nats: 0-d."""
    per_entry: Tensor = torch.special.entr(_as_rows(target).double())
    return per_entry.sum(-1).mean()


def _as_rows(logits: Tensor) -> Tensor:
    """Return (N, C) and (N, C, ...) as rows of C logits each; (C,) as one row."""
    if logits.dim() > 2:
        return logits.movedim(1, -1).reshape(-1, logits.shape[1])
    return logits.reshape(-1, logits.shape[-1])
