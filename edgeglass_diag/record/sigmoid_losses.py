"""Observes losses that judge each pair by itself, by a sigmoid."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edgeglass_diag.measures.labels import binary_entropy
from edgeglass_diag.record.loss_readings import ChanceLevel, LossReadings
from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.tensor_sources import Product
from edgeglass_diag.record.torch_functions import bind
from edgeglass_diag.signals.losses import (
    LOSS_LABELS_NEGATIVE,
    LOSS_LABELS_ZERO,
    LOSS_LEVEL,
    LOSS_TARGET_ENTROPY,
    LOSS_VALUE,
)
from edgeglass_diag.sites import Coverage, Kind, LossFunction, LossSite, Task


class SigmoidLossObserver(Observer):
    """Writes ``loss/*`` of SigLIP's ``logsigmoid`` and of binary cross-entropy with logits.

    Args:
        recording: state of the watch.
        readings: writes what all losses have in common.
    """

    def __init__(self, recording: Recording, readings: LossReadings) -> None:
        self._recording, self._readings = recording, readings
        self._pairs: list[tuple[Tensor, int]] = []  # positives and entries of each call

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed."""
        return {
            functional.logsigmoid: self._logsigmoid,
            functional.binary_cross_entropy_with_logits: self._binary,
        }

    def forget(self) -> None:
        """Release the positives of the window."""
        self._pairs.clear()

    def _logsigmoid(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """SigLIP: labels x logits (B, N) with one positive in each row, https://arxiv.org/abs/2303.15343."""
        recording, logits = self._recording, bind(func, args, kwargs)["input"]
        path = recording.stack.loss_path(LossFunction.LOGSIGMOID)
        site = LossSite(path=path, function=LossFunction.LOGSIGMOID, task=Task.CONTRASTIVE)
        if logits.dim() != 2 or logits.shape[1] < 2:
            recording.sites.cannot_observe(site, Coverage.NOT_CONTRASTIVE, f"logsigmoid of {logits.dim()}-D logits")
            return
        with recording.measuring(path, Kind.LOSS):
            recording.sites.register_site(site)
            product = recording.sources.product(logits)
            unlabelled = logits.detach() if product is None else product.logits
            self._readings.logits(path, logits, unlabelled, logits.shape[0])
            recording.buffer.add(path, LOSS_VALUE, -result.detach().double().sum() / logits.shape[0])
            known = torch.as_tensor(len(logits)) if product is None else self._signs(path, logits.detach(), product)
            self._pairs.append((known, logits.numel()))
            self._readings.follow(path, result, partial(self._level, logits.shape[1]))

    def _signs(self, path: str, labelled: Tensor, product: Product) -> Tensor:
        """Write what the labels are where they came in as a tensor; return the number of positive ones."""
        signs = labelled * product.logits
        positives = signs > 0
        add = partial(self._recording.buffer.add, path)
        if product.mixed:
            self._readings.matches(path, product.logits, positives)
            add(LOSS_LABELS_ZERO, (labelled == 0).double().mean())
            add(LOSS_LABELS_NEGATIVE, (signs < 0).double().mean())
        count: Tensor = positives.sum().double()
        add(LOSS_TARGET_ENTROPY, (count / len(labelled)).log())
        return count

    def _level(self, candidates: int) -> ChanceLevel:
        """Return the level by the share of positives in the window, whether they came in chunks or not."""
        share = torch.stack([positives for positives, _ in self._pairs]).sum() / sum(count for _, count in self._pairs)
        entropy = binary_entropy(share)
        return ChanceLevel(-entropy, entropy * candidates)

    def _binary(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        recording, given = self._recording, bind(func, args, kwargs)
        logits, target, reduction = given["input"], given["target"], str(given.get("reduction", "mean"))
        positive = given.get("pos_weight")
        path = recording.stack.loss_path(LossFunction.BINARY_CROSS_ENTROPY)
        task = Task.CLASSIFICATION if recording.sources.product(logits) is None else Task.CONTRASTIVE
        site = LossSite(path=path, function=LossFunction.BINARY_CROSS_ENTROPY, reduction=reduction, task=task)
        single = positive is None or positive.numel() == 1
        if logits.dim() not in (1, 2) or not single or given.get("weight") is not None:
            detail = "binary cross-entropy of other than 2-D logits, or weighted"
            recording.sites.cannot_observe(site, Coverage.NOT_CONTRASTIVE, detail)
            return
        with recording.measuring(path, Kind.LOSS):
            recording.sites.register_site(site)
            rows, targets = (values.detach().reshape(len(logits), -1) for values in (logits, target))
            share, columns = targets.double().mean(), rows.shape[1]
            level = binary_entropy(share, 1.0 if positive is None else positive.detach().double().reshape(()))
            count = logits.numel() if reduction == "sum" else 1
            add = partial(recording.buffer.add, path)
            add(LOSS_VALUE, result.detach().double().mean() / count)
            add(LOSS_LEVEL, level)
            if columns == 1:
                self._readings.two_classes(path, logits, rows, targets)
            else:
                self._readings.logits(path, logits, rows, len(rows))
                self._readings.matches(path, rows, targets > 0.5)
            add(LOSS_TARGET_ENTROPY, (share * columns).log())
            chance = ChanceLevel(level * count, level * columns)
            self._readings.follow(path, result, lambda: chance)
