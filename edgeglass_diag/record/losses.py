"""Observes the loss at its function, and the scalar that goes backward."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edgeglass_diag.measures.contrast import accuracy, logit_statistics, some_rows, valid_logits
from edgeglass_diag.record.embeddings import EmbeddingTap
from edgeglass_diag.record.functions import Function, Observer
from edgeglass_diag.record.patching import Patch
from edgeglass_diag.record.profiler_ranges import BACKWARD, span
from edgeglass_diag.record.session import Session
from edgeglass_diag.record.tensor_sources import Product
from edgeglass_diag.signals import family
from edgeglass_diag.signals.losses import (
    LOSS_ACCURACY,
    LOSS_CANDIDATES,
    LOSS_CHANCE,
    LOSS_EXPLAINED,
    LOSS_LABEL_SMOOTHING,
    LOSS_LABELS_DIAGONAL,
    LOSS_LABELS_NEGATIVE,
    LOSS_LABELS_ZERO,
    LOSS_ROWS,
    LOSS_TARGET_ENTROPY,
    LOSS_TARGET_GRADIENT,
    LOSS_TOTAL,
    LOSS_VALUE,
    LOSS_WEIGHT,
)
from edgeglass_diag.sites import Coverage, Kind, LossFunction, LossSite

_TARGETED = (
    "input", "target", "weight", "size_average", "ignore_index", "reduce", "reduction", "label_smoothing"
)  # fmt: skip
_BINARY = ("input", "target", "weight", "size_average", "reduce", "reduction", "pos_weight")
_KEPT_LOGITS = 2**22
"""Logits that are kept beside their log-softmax; of more, as captioners have, the log-softmax must do."""

_SIGNALS = family("loss")

LOG_SOFTMAX: tuple[Function, ...] = (functional.log_softmax, torch.log_softmax, Tensor.log_softmax)


@dataclass(frozen=True, slots=True)
class _Level:
    """What a loss function returns where nothing is known, for one entry of its result, and for a row of logits."""

    entry: float | Tensor
    row: float | Tensor


class LossTap:
    """Observers that write ``loss/*``.

    The weight of each loss function in the whole loss is read off the gradient that reaches its result, so that
    the chance level of the whole, the sum of weight x chance level of each, needs no knowledge of the training
    code. Known are cross-entropy, ``nll_loss`` of a log-softmax, and the sigmoid losses of SigLIP
    (``logsigmoid``, binary cross-entropy with logits).

    Args:
        session: state of the watch.
        embeddings: told the logits that a loss takes.
        before: called before each backward pass.
        after: called after each backward pass.
    """

    def __init__(
        self,
        session: Session,
        embeddings: EmbeddingTap,
        before: Callable[[], None] = lambda: None,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self._session, self._embeddings, self._before, self._after = session, embeddings, before, after
        self._logits: dict[int, tuple[weakref.ref[Tensor], Tensor]] = {}
        self._pairs: list[tuple[Tensor, int]] = []  # positives and entries of each sigmoid loss
        self._going_back = False
        self.backward = Patch(torch.autograd, "backward", self._backward)

    @property
    def observers(self) -> Mapping[Function, Observer]:
        """The functions observed."""
        table: dict[Function, Observer] = {
            functional.cross_entropy: self._cross_entropy,
            functional.nll_loss: self._nll_loss,
            functional.logsigmoid: self._logsigmoid,
            functional.binary_cross_entropy_with_logits: self._binary,
        }
        table |= dict.fromkeys((torch.logsumexp, Tensor.logsumexp), self._logsumexp)
        return table | dict.fromkeys(LOG_SOFTMAX, self._log_softmax)

    def end_window(self) -> None:
        """Release the logits of the window."""
        self._logits.clear()
        self._pairs.clear()

    def _backward(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        session = self._session
        # torch calls it again for each function mode; what another thread trains is none of ours
        if self._going_back or session.thread not in (None, threading.get_ident()):
            return original(*args, **kwargs)
        tensors = args[0] if args else kwargs.get("tensors", ())
        given = args[1] if len(args) > 1 else kwargs.get("grad_tensors")
        whole = [tensors] if isinstance(tensors, Tensor) else list(tensors)
        factors = [given] * len(whole) if given is None or isinstance(given, Tensor) else list(given)
        for tensor, factor in zip(whole, factors, strict=False):
            with session.measuring("", Kind.LOSS, tensor):
                if tensor.numel() == 1:
                    value = tensor.detach().double() * (1 if factor is None else factor.detach().double())
                    session.buffer.add("", LOSS_TOTAL, session.unscaled(value))
        session.end_passes()
        self._before()
        self._going_back = True
        try:
            with span(BACKWARD):
                result = original(*args, **kwargs)
        finally:
            self._going_back = False
        self._after()
        return result

    def _cross_entropy(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = dict(zip(_TARGETED, args, strict=False)) | kwargs
        self._classified(LossFunction.CROSS_ENTROPY, given, given["input"], result)

    def _log_softmax(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        logits = args[0] if args else kwargs["input"]
        if isinstance(result, Tensor) and result.numel() <= _KEPT_LOGITS:
            self._logits = {key: entry for key, entry in self._logits.items() if entry[0]() is not None}
            self._logits[id(result)] = (weakref.ref(result), logits)

    def _logsumexp(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """A softmax that is written out, as in -(positive - logsumexp(logits)): what its logits are, not its value."""
        given = dict(zip(("input", "dim"), args, strict=False)) | kwargs
        logits, axis = given["input"], given["dim"]
        if logits.dim() != 2 or self._session.lineage.product(logits) is None:
            return
        site = self._session.loss(LossFunction.LOGSUMEXP)
        with self._session.measuring(site, Kind.LOSS, logits):
            rows = logits.detach() if axis in (1, -1, (1,), (-1,), [1], [-1]) else logits.detach().mT
            self._session.sites.register_site(LossSite(path=site, function=LossFunction.LOGSUMEXP))
            self._logits_of(site, logits, rows, len(rows))

    def _nll_loss(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = dict(zip(_TARGETED, args, strict=False)) | kwargs
        known = self._logits.get(id(given["input"]))
        logits = known[1] if known is not None and known[0]() is given["input"] else given["input"]
        self._classified(LossFunction.NLL_LOSS, given, logits, result)

    def _classified(self, function: LossFunction, given: Mapping[str, Any], logits: Tensor, result: Tensor) -> None:
        """A loss over classes: logits (N, C) or (N, C, ...), targets as indices or as probabilities."""
        session, target = self._session, given["target"]
        if logits.numel() == 0:
            return
        site, reduction = self._session.loss(function), str(given.get("reduction", "mean"))
        with session.measuring(site, Kind.LOSS, logits):
            rows = _as_rows(logits.detach())
            indices = None if target.is_floating_point() else target.reshape(-1)
            everyone = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
            counted = everyone if indices is None else indices != given.get("ignore_index", -100)
            chance = self._logits_of(site, logits, rows, counted.sum())
            session.sites.register_site(LossSite(path=site, function=function, reduction=reduction))
            add = partial(session.buffer.add, site)
            number = counted.sum().double()
            share = counted.double()
            if given.get("weight") is not None and indices is not None:
                share = share * given["weight"].double()[indices.clamp(min=0)]
            count = {"mean": share.new_ones(()), "sum": share.sum(), "none": share}[reduction]
            count = count.reshape(result.shape)
            total = result.detach().double().sum()
            add(LOSS_VALUE, total if reduction == "mean" else total / number)
            add(LOSS_LABEL_SMOOTHING, float(given.get("label_smoothing", 0.0)))
            add(LOSS_TARGET_GRADIENT, float(target.requires_grad))
            add(LOSS_TARGET_ENTROPY, 0.0 if indices is not None else _entropy(target.detach()))
            if indices is not None:
                self._answers(site, rows, indices, counted)
            level = _Level(chance * count, chance)
            self._follow(site, result, lambda: level)

    def _answers(self, site: str, rows: Tensor, indices: Tensor, counted: Tensor) -> None:
        part = some_rows(rows)
        step = math.ceil(len(rows) / len(part))
        self._session.buffer.add(site, LOSS_ACCURACY, accuracy(part, indices[::step], counted[::step]))
        square = len(rows) == rows.shape[1]
        if square:
            diagonal = (indices == torch.arange(len(indices), device=indices.device)).double().mean()
            self._session.buffer.add(site, LOSS_LABELS_DIAGONAL, diagonal)

    def _matches(self, site: str, logits: Tensor, positives: Tensor) -> None:
        """Of a square of pairs each row that has exactly one match answers with its largest logit."""
        if logits.shape[0] != logits.shape[1]:
            return
        part = some_rows(logits)
        step = math.ceil(len(logits) / len(part))
        told = positives[::step].sum(-1) == 1
        match = positives[::step].double().argmax(-1)
        self._session.buffer.add(site, LOSS_ACCURACY, accuracy(part, match, told))
        own = torch.arange(0, len(logits), step, device=match.device)
        self._session.buffer.add(site, LOSS_LABELS_DIAGONAL, (told & (match == own)).sum().double() / told.sum())

    def _logsigmoid(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """SigLIP: labels x logits (B, N) with one positive in each row, https://arxiv.org/abs/2303.15343."""
        logits = args[0] if args else kwargs["input"]
        site = self._session.loss(LossFunction.LOGSIGMOID)
        about = LossSite(path=site, function=LossFunction.LOGSIGMOID)
        if logits.dim() != 2 or logits.shape[1] < 2:
            self._session.sites.cannot_observe(
                about, Coverage.NOT_CONTRASTIVE, f"logsigmoid of {logits.dim()}-D logits"
            )
            return
        with self._session.measuring(site, Kind.LOSS, logits):
            self._session.sites.register_site(about)
            product = self._session.lineage.product(logits)
            unlabelled = logits.detach() if product is None else product.logits
            self._logits_of(site, logits, unlabelled, logits.shape[0])
            self._session.buffer.add(site, LOSS_VALUE, -result.detach().double().sum() / logits.shape[0])
            known = torch.as_tensor(len(logits)) if product is None else self._signs(site, logits.detach(), product)
            self._pairs.append((known, logits.numel()))
            self._follow(site, result, partial(self._sigmoid_level, logits.shape[1]))

    def _signs(self, site: str, labelled: Tensor, product: Product) -> Tensor:
        """Number of combinations with a positive label; what the labels are where they came in as a tensor."""
        signs = labelled * product.logits
        positives = signs > 0
        if product.mixed:
            self._matches(site, product.logits, positives)
            self._session.buffer.add(site, LOSS_LABELS_ZERO, (labelled == 0).double().mean())
            self._session.buffer.add(site, LOSS_LABELS_NEGATIVE, (signs < 0).double().mean())
        count: Tensor = positives.sum().double()
        self._session.buffer.add(site, LOSS_TARGET_ENTROPY, (count / len(labelled)).log())
        return count

    def _sigmoid_level(self, candidates: int) -> _Level:
        """Given the share of positives among all entries of the window, whether they came in chunks or not."""
        share = torch.stack([positives for positives, _ in self._pairs]).sum() / sum(count for _, count in self._pairs)
        entropy = torch.special.entr(share) + torch.special.entr(1 - share)
        return _Level(-entropy, entropy * candidates)

    def _binary(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = dict(zip(_BINARY, args, strict=False)) | kwargs
        logits, target = given["input"], given["target"]
        site = self._session.loss(LossFunction.BINARY_CROSS_ENTROPY)
        reduction = str(given.get("reduction", "mean"))
        about = LossSite(path=site, function=LossFunction.BINARY_CROSS_ENTROPY, reduction=reduction)
        if logits.dim() != 2 or given.get("pos_weight") is not None or given.get("weight") is not None:
            self._session.sites.cannot_observe(
                about, Coverage.NOT_CONTRASTIVE, "binary cross-entropy of other than 2-D logits, or weighted"
            )
            return
        with self._session.measuring(site, Kind.LOSS, logits):
            count = logits.numel() if reduction == "sum" else 1
            self._session.sites.register_site(about)
            self._logits_of(site, logits, logits.detach(), logits.shape[0])
            self._session.buffer.add(site, LOSS_VALUE, result.detach().double().mean() / count)
            self._matches(site, logits.detach(), target.detach() > 0.5)
            share = target.detach().double().mean()
            self._session.buffer.add(site, LOSS_TARGET_ENTROPY, (share * logits.shape[1]).log())
            entropy = torch.special.entr(share) + torch.special.entr(1 - share)
            level = _Level(entropy * count, entropy * logits.shape[1])
            self._follow(site, result, lambda: level)

    def _logits_of(self, site: str, logits: Tensor, rows: Tensor, count: Tensor | int) -> Tensor:
        """Write what the logits tell; returns the mean over rows of ln(candidates): 0-d."""
        add = partial(self._session.buffer.add, site)
        part = some_rows(rows)
        values = part if part.dtype == torch.float64 else part.float()
        valid = valid_logits(values)
        candidates = valid.sum(-1).double()
        add(LOSS_ROWS, count)
        add(LOSS_CANDIDATES, candidates.mean())
        for name, value in logit_statistics(values, valid)._asdict().items():
            add(_SIGNALS[name], value)
        self._embeddings.reached(logits)
        return candidates.log().mean()

    def _follow(self, site: str, result: Tensor, level: Callable[[], _Level]) -> None:
        if result.requires_grad:
            # A copy of a number: `loss /= k` would change it too.
            value = result.detach().clone() if result.numel() == 1 else result.detach()
            result.register_hook(partial(self._weigh, site, value, level))

    def _weigh(self, site: str, value: Tensor, level: Callable[[], _Level], gradient: Tensor) -> None:
        if not self._going_back:
            return  # a gradient taken aside by torch.autograd.grad
        with self._session.measuring(site, Kind.LOSS, gradient):
            weight = self._session.unscaled(gradient.detach().double())
            known = level()
            chance = (weight * known.entry).sum()
            self._session.buffer.add(site, LOSS_WEIGHT, chance / known.row)
            self._session.buffer.add("", LOSS_CHANCE, chance)
            self._session.buffer.add("", LOSS_EXPLAINED, (weight * value.double()).sum())


def _entropy(target: Tensor) -> Tensor:
    """Mean entropy of target distributions (N, C, ...) over classes, in nats: 0-d."""
    per_entry: Tensor = torch.special.entr(_as_rows(target).double())
    return per_entry.sum(-1).mean()


def _as_rows(logits: Tensor) -> Tensor:
    """(N, C) and (N, C, ...) as rows of C logits each; (C,) as one row."""
    if logits.dim() > 2:
        return logits.movedim(1, -1).reshape(-1, logits.shape[1])
    return logits.reshape(-1, logits.shape[-1])
