"""Observes losses that judge each pair by itself, by a sigmoid, in whichever way it is written."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edgeglass_diag.measures.labels import binary_entropy
from edgeglass_diag.record.derivations import Product
from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.loss_readings import ChanceLevel, LossReadings
from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.torch_functions import (
    EXPONENTIALS,
    LOGARITHMS,
    LOGARITHMS_OF_ONE_MORE,
    SIGMOIDS,
    SUMS,
    bind,
    leading,
    one_more_than,
)
from edgeglass_diag.signals.losses import (
    LOSS_LABELS_NEGATIVE,
    LOSS_LABELS_ZERO,
    LOSS_LEVEL,
    LOSS_TARGET_ENTROPY,
    LOSS_VALUE,
)
from edgeglass_diag.sites import Coverage, Kind, LossFunction, LossSite, Task


class SigmoidLossObserver(Observer):
    """Writes ``loss/*`` of SigLIP's ``logsigmoid`` and of binary cross-entropy.

    The first may be written as ``softplus``, as the logarithm of a sigmoid, or as ``log(1 + exp(x))`` of logits that
    are products of embeddings. Differences of logits, as rankings take them, are no labels times logits.

    Args:
        recording: state of the watch.
        readings: writes what all losses have in common.
    """

    def __init__(self, recording: Recording, readings: LossReadings) -> None:
        self._recording, self._readings = recording, readings
        self._pairs: list[tuple[Tensor, int]] = []  # positives and entries of each call
        self._sigmoids: Facts[Tensor, Tensor] = Facts()  # what they were made of; so are the others
        self._exponentials: Facts[Tensor, Tensor] = Facts()
        self._denominators: Facts[Tensor, Tensor] = Facts()

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed."""
        table: dict[Function, FunctionHandler] = dict.fromkeys(SIGMOIDS, self._sigmoid)
        table |= dict.fromkeys(EXPONENTIALS, self._exp) | dict.fromkeys(SUMS, self._sum)
        table |= dict.fromkeys(LOGARITHMS, self._log) | dict.fromkeys(LOGARITHMS_OF_ONE_MORE, self._log_of_one_more)
        table |= {
            functional.logsigmoid: self._logsigmoid,
            functional.softplus: self._softplus,
            functional.binary_cross_entropy_with_logits: self._binary,
            functional.binary_cross_entropy: self._binary,
        }
        return {function: leading(handler) for function, handler in table.items()}

    def forget(self) -> None:
        """Release the positives of the window."""
        self._pairs.clear()
        for known in (self._sigmoids, self._exponentials, self._denominators):
            known.clear()

    def _sigmoid(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if args and self._is_product(args[0]):
            self._sigmoids.set(result, args[0])

    def _exp(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if args and self._is_product(args[0]):
            self._exponentials.set(result, args[0])

    def _sum(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """``1 + exp(x)``, one over the sigmoid of -x."""
        if (tensor := one_more_than(args)) is not None and (logits := self._exponentials.get(tensor)) is not None:
            self._denominators.set(result, logits)

    def _log(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if (logits := self._sigmoids.get(args[0])) is not None and self._is_product(logits):
            self._pairwise(LossFunction.LOGSIGMOID, logits, result)
        elif (logits := self._denominators.get(args[0])) is not None:
            self._pairwise(LossFunction.SOFTPLUS, logits, result)

    def _log_of_one_more(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if (logits := self._exponentials.get(args[0])) is not None:
            self._pairwise(LossFunction.SOFTPLUS, logits, result)

    def _softplus(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        if given.get("beta", 1) == 1 and self._is_product(given["input"]):
            self._pairwise(LossFunction.SOFTPLUS, given["input"], result)

    def _logsigmoid(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self._pairwise(LossFunction.LOGSIGMOID, bind(func, args, kwargs)["input"], result)

    def _is_product(self, logits: Tensor) -> bool:
        return logits.dim() == 2 and self._recording.sources.product(logits) is not None

    def _pairwise(self, function: LossFunction, logits: Tensor, result: Tensor) -> None:
        """SigLIP: labels x logits (B, N) with one positive in each row, https://arxiv.org/abs/2303.15343.

        Args:
            function: of which the result is ``log(sigmoid(logits))``, or ``softplus(logits)``: the loss itself.
            logits: as the function takes them.
            result: what it returns.
        """
        recording, sign = self._recording, 1 if function is LossFunction.SOFTPLUS else -1
        path, product = recording.stack.loss_path(function), recording.sources.product(logits)
        site = LossSite(path=path, function=function, task=Task.CONTRASTIVE)
        if logits.dim() != 2 or logits.shape[1] < 2 or (product is not None and product.shifted):
            detail = f"{function} of {logits.dim()}-D logits" if logits.dim() != 2 else f"{function} of differences"
            recording.sites.cannot_observe(site, Coverage.NOT_CONTRASTIVE, detail)
            return
        with recording.measuring(path, Kind.LOSS):
            recording.sites.register_site(site)
            labelled = -sign * logits.detach()
            unlabelled = labelled if product is None else product.logits
            self._readings.logits(path, logits, unlabelled, logits.shape[0])
            value = sign * result.detach().double().sum() / logits.shape[0]
            recording.buffer.add(path, LOSS_VALUE, value)
            self._readings.of_pair(logits, value)
            known = torch.as_tensor(len(logits)) if product is None else self._signs(path, labelled, product)
            self._pairs.append((known, logits.numel()))
            self._readings.follow(path, result, partial(self._level, sign, logits.shape[1]))

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

    def _level(self, sign: int, candidates: int, gradient: Tensor) -> ChanceLevel:
        """Return the level by the share of positives in the window, whether they came in chunks or not."""
        share = torch.stack([positives for positives, _ in self._pairs]).sum() / sum(count for _, count in self._pairs)
        entropy = binary_entropy(share)
        return ChanceLevel(sign * entropy, entropy * candidates)

    def _binary(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        recording, given = self._recording, bind(func, args, kwargs)
        logits, target, reduction = given["input"], given["target"], str(given.get("reduction", "mean"))
        positive, values = given.get("pos_weight"), logits.detach()
        if func is functional.binary_cross_entropy:  # takes probabilities
            values = values.logit(eps=torch.finfo(values.dtype).eps)
            logits = logits if (known := self._sigmoids.get(logits)) is None else known
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
            rows, targets = (side.detach().reshape(len(logits), -1) for side in (values, target))
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
            self._readings.follow(path, result, lambda _: chance)
