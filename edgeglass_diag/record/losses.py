"""Observes losses that choose among candidates, at their functions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter, functional

from edgeglass_diag.measures.contrast import some_rows
from edgeglass_diag.measures.labels import excess_mass
from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.loss_readings import ChanceLevel, LossReadings, as_rows
from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.torch_functions import CARRYING, LOG_SOFTMAX, SCALING, bind
from edgeglass_diag.signals.losses import (
    LOSS_EXCESS_MASS,
    LOSS_LABEL_SMOOTHING,
    LOSS_TARGET_ENTROPY,
    LOSS_TARGET_GRADIENT,
    LOSS_VALUE,
)
from edgeglass_diag.sites import Kind, LossFunction, LossSite, Task

_KEPT_LOGITS = 2**22
"""Logits that are kept with their log-softmax; of more, as captioners have, the log-softmax must do."""

_WITH_LABELS = (Task.CONTRASTIVE, Task.CLASSIFICATION)
"""Tasks whose targets are labels also where they are distributions: one-hot, smoothed or mixed."""


class LossObserver(Observer):
    """Writes ``loss/*`` of cross-entropy, ``nll_loss`` of a log-softmax, and losses written with ``logsumexp``.

    Args:
        recording: state of the watch.
        readings: writes what all losses have in common.
    """

    def __init__(self, recording: Recording, readings: LossReadings) -> None:
        self._recording, self._readings = recording, readings
        self._logits: Facts[Tensor, Tensor] = Facts()
        self._log_softmaxes: Facts[Tensor, bool] = Facts()
        self._heads: Facts[Tensor, bool] = Facts()  # what a head gives: whether at the positions of sequences

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed."""
        table: dict[Function, FunctionHandler] = {
            functional.cross_entropy: self._cross_entropy,
            functional.nll_loss: self._nll_loss,
        }
        table |= dict.fromkeys((*CARRYING, *SCALING), self._carry) | {functional.linear: self._linear}
        return table | dict.fromkeys(LOG_SOFTMAX, self._log_softmax)

    def forget(self) -> None:
        """Release the logits of the window."""
        self._logits.clear()
        self._log_softmaxes.clear()
        self._heads.clear()

    def _cross_entropy(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        self._classified(LossFunction.CROSS_ENTROPY, given, given["input"], result)

    def _linear(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        if isinstance(given["weight"], Parameter):
            self._heads.set(result, result.dim() == 3)

    def _carry(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Logits that are laid out otherwise, or scaled by a number, are still those of their head."""
        values = next((value for value in args if isinstance(value, Tensor)), None)
        if values is None or not isinstance(result, Tensor) or result.shape[-1:] != values.shape[-1:]:
            return
        if self._recording.sources.is_output(values) or values in self._heads:
            self._heads.set(result, bool(self._heads.get(values)) or values.dim() == 3)

    def _log_softmax(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self._log_softmaxes.set(result, True)
        if isinstance(result, Tensor) and result.numel() <= _KEPT_LOGITS:
            self._logits.prune()
            self._logits.set(result, bind(func, args, kwargs)["input"])

    def _nll_loss(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        logs = given["input"]
        logits = self._logits.get(logs)
        path = self._classified(LossFunction.NLL_LOSS, given, logs if logits is None else logits, result)
        with self._recording.measuring(path, Kind.LOSS):
            excess = 0.0 if logs in self._log_softmaxes else excess_mass(some_rows(as_rows(logs.detach())))
            self._recording.buffer.add(path, LOSS_EXCESS_MASS, excess)

    def _classified(self, function: LossFunction, given: Mapping[str, Any], logits: Tensor, result: Tensor) -> str:
        """Write a loss over classes: logits (N, C) or (N, C, ...), targets as indices or as probabilities."""
        recording, target = self._recording, given["target"]
        path, reduction = recording.stack.loss_path(function), str(given.get("reduction", "mean"))
        if logits.numel() == 0:
            return path
        with recording.measuring(path, Kind.LOSS):
            rows = as_rows(logits.detach())
            indices = None if target.is_floating_point() else target.reshape(-1)
            everyone = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
            counted = everyone if indices is None else indices != given.get("ignore_index", -100)
            uniform = self._readings.logits(path, logits, rows, counted.sum())
            task = self._task(logits, target)
            recording.sites.register_site(LossSite(path=path, function=function, reduction=reduction, task=task))
            add = partial(recording.buffer.add, path)
            total = result.detach().double().sum()
            weight, smoothing = given.get("weight"), float(given.get("label_smoothing", 0.0))
            value = total if reduction == "mean" else total / _count(weight, indices, counted, "sum")
            add(LOSS_VALUE, value)
            self._readings.of_pair(logits, value)
            add(LOSS_LABEL_SMOOTHING, smoothing)
            add(LOSS_TARGET_GRADIENT, float(target.requires_grad))
            add(LOSS_TARGET_ENTROPY, 0.0 if indices is not None else _entropy(target.detach()))
            if indices is not None or task in _WITH_LABELS:
                self._answers(path, logits, rows, *(_most_likely(target) if indices is None else (indices, counted)))
            chance = self._readings.level(path, rows, target, counted, uniform, weight=weight, smoothing=smoothing)
            count = _count(weight, indices, counted, reduction)
            level = ChanceLevel(chance * count.reshape(result.shape), chance)
            self._readings.follow(path, result, lambda _: level)
        return path

    def _answers(self, path: str, logits: Tensor, rows: Tensor, labels: Tensor, counted: Tensor) -> None:
        """Write what is asked of (N, C) rows whose labels (N,) are these, where they count, and what is answered."""
        if logits in self._heads:
            self._readings.labels(path, labels, counted)
        self._readings.answers(path, rows, labels, counted)
        self._readings.pairing(logits, rows, torch.where(counted, labels, -1))

    def _task(self, logits: Tensor, target: Tensor) -> Task:
        """Return what is asked for: the classes of a contrast are samples, of which each row has its own."""
        sources = self._recording.sources
        rows, classes, is_soft = logits.shape[0], logits.shape[-1], target.is_floating_point()
        product = sources.product(logits)
        if product is not None:
            with_queue = len(sources.comparisons(logits)) > 1  # the partner's similarity beside those with a queue
            return Task.CONTRASTIVE if is_soft or classes % rows == 0 or with_queue else Task.CLASSIFICATION
        if logits.dim() == 3 or self._heads.get(logits):
            return Task.GENERATION
        if is_soft and sources.sources([target]):
            return Task.DISTILLATION
        if logits.dim() != 2 or logits in self._heads or sources.is_output(logits):
            return Task.CLASSIFICATION
        if not sources.sources([logits]):
            return Task.UNKNOWN
        return Task.CONTRASTIVE if classes >= rows - 1 else Task.CLASSIFICATION


def _count(weight: Tensor | None, indices: Tensor | None, counted: Tensor, reduction: str) -> Tensor:
    """Return how much each entry of a result counts: (N,) without reduction, else 0-d."""
    share = counted.double()
    if weight is not None and indices is not None:
        share = share * weight.double()[indices.clamp(min=0)]
    return {"mean": share.new_ones(()), "sum": share.sum(), "none": share}[reduction]


def _most_likely(target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the likeliest class of target distributions (N, C, ...), and whether it is more so than all others."""
    share, labels = as_rows(target.detach()).max(-1)
    return labels, share > 0.5


def _entropy(target: Tensor) -> Tensor:
    """Return the mean entropy of target distributions (N, C, ...) over classes, in nats: 0-d."""
    per_entry: Tensor = torch.special.entr(as_rows(target).double())
    return per_entry.sum(-1).mean()
