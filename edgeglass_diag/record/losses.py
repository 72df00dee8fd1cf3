"""Observes the loss at its function, and the scalar that goes backward."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edgeglass_diag.measures.chance import binary_entropy
from edgeglass_diag.measures.contrast import accuracy, logit_statistics, some_rows
from edgeglass_diag.record.embeddings import EmbeddingTap
from edgeglass_diag.record.functions import Function, Observer
from edgeglass_diag.record.patching import Patch
from edgeglass_diag.record.session import Session

_TARGETED = (
    "input", "target", "weight", "size_average", "ignore_index", "reduce", "reduction", "label_smoothing"
)  # fmt: skip
_BINARY = ("input", "target", "weight", "size_average", "reduce", "reduction", "pos_weight")
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
    """

    def __init__(self, session: Session, embeddings: EmbeddingTap) -> None:
        self._session, self._embeddings = session, embeddings
        self._logits: dict[int, tuple[weakref.ref[Tensor], Tensor]] = {}
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
        return table | dict.fromkeys(LOG_SOFTMAX, self._log_softmax)

    def end_window(self) -> None:
        """Release the logits of the window."""
        self._logits.clear()

    def _backward(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        session = self._session
        if self._going_back:  # torch calls it again for each function mode
            return original(*args, **kwargs)
        tensors = args[0] if args else kwargs.get("tensors", ())
        for tensor in (tensors,) if isinstance(tensors, Tensor) else tensors:
            with session.measuring("", "loss", tensor):
                if tensor.numel() == 1:
                    session.buffer.add("", "loss/total", session.unscaled(tensor.detach().double()))
        session.calls.clear()
        self._going_back = True
        try:
            return original(*args, **kwargs)
        finally:
            self._going_back = False

    def _cross_entropy(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = dict(zip(_TARGETED, args, strict=False)) | kwargs
        self._classified("cross_entropy", given, given["input"], result)

    def _log_softmax(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        logits = args[0] if args else kwargs["input"]
        if isinstance(result, Tensor):
            self._logits[id(result)] = (weakref.ref(result), logits)

    def _nll_loss(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = dict(zip(_TARGETED, args, strict=False)) | kwargs
        known = self._logits.get(id(given["input"]))
        logits = known[1] if known is not None and known[0]() is given["input"] else given["input"]
        self._classified("nll_loss", given, logits, result)

    def _classified(self, kind: str, given: Mapping[str, Any], logits: Tensor, result: Tensor) -> None:
        """A loss over classes: logits (N, C) or (N, C, ...), targets as indices or as probabilities."""
        session, target = self._session, given["target"]
        site = self._site(kind)
        with session.measuring(site, "loss", logits):
            candidates = logits.shape[1] if logits.dim() > 1 else logits.shape[0]
            rows = logits.detach().movedim(1, -1).reshape(-1, candidates) if logits.dim() > 2 else logits.detach()
            rows = rows.reshape(-1, candidates)
            indices = None if target.is_floating_point() else target.reshape(-1)
            if indices is None:
                counted = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
            else:
                counted = indices != given.get("ignore_index", -100)
            count = counted.sum().double() if given.get("reduction", "mean") == "sum" else 1
            self._logits_of(site, logits, some_rows(rows), counted.sum())
            session.see(site, "loss", label=str(given.get("reduction", "mean")))
            add = partial(session.buffer.add, site)
            add("loss/value", result.detach().double().mean() / count)
            add("loss/label_smoothing", float(given.get("label_smoothing", 0.0)))
            if indices is not None:
                part = some_rows(rows)
                step = max(1, math.ceil(len(rows) / len(part)))
                add("loss/accuracy", accuracy(part, indices[::step], counted[::step]))
                if len(rows) == candidates:
                    ordered = indices == torch.arange(len(indices), device=indices.device)
                    add("loss/labels_ordered", ordered.all())
                else:
                    add("loss/labels_ordered", 0.0)
            self._follow(site, result, _Level(math.log(candidates) * count, math.log(candidates)))

    def _logsigmoid(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """SigLIP: labels x logits (B, N) with one positive in each row, https://arxiv.org/abs/2303.15343."""
        logits = args[0] if args else kwargs["input"]
        site = self._site("logsigmoid")
        if logits.dim() != 2 or logits.shape[1] < 2:
            self._session.cannot_observe(site, "loss", f"logsigmoid of {logits.dim()}-D logits is no contrastive loss")
            return
        with self._session.measuring(site, "loss", logits):
            self._session.see(site, "loss", label="sigmoid")
            product = self._session.lineage.product(logits)
            unlabelled = logits.detach() if product is None else product.logits
            self._logits_of(site, logits, some_rows(unlabelled), logits.shape[0])
            self._session.buffer.add(site, "loss/value", -result.detach().double().sum() / logits.shape[0])
            entropy = binary_entropy(1 / logits.shape[1])
            self._follow(site, result, _Level(-entropy, entropy * logits.shape[1]))

    def _binary(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = dict(zip(_BINARY, args, strict=False)) | kwargs
        logits, target = given["input"], given["target"]
        site = self._site("binary_cross_entropy")
        if logits.dim() != 2 or given.get("pos_weight") is not None or given.get("weight") is not None:
            self._session.cannot_observe(site, "loss", "binary cross-entropy of other than 2-D logits, or weighted")
            return
        with self._session.measuring(site, "loss", logits):
            count = logits.numel() if given.get("reduction", "mean") == "sum" else 1
            self._session.see(site, "loss", label="sigmoid")
            self._logits_of(site, logits, some_rows(logits.detach()), logits.shape[0])
            self._session.buffer.add(site, "loss/value", result.detach().double().mean() / count)
            share = target.detach().double().mean()
            entropy = torch.special.entr(share) + torch.special.entr(1 - share)
            self._follow(site, result, _Level(entropy * count, entropy))

    def _site(self, kind: str) -> str:
        path = self._session.stack[-1].site if self._session.stack else ""
        return self._session.occurrence(f"{path}.{kind}" if path else kind)

    def _logits_of(self, site: str, logits: Tensor, rows: Tensor, count: Tensor | int) -> None:
        add = partial(self._session.buffer.add, site)
        add("loss/rows", count)
        add("loss/candidates", float(rows.shape[1]))
        values = rows if rows.dtype == torch.float64 else rows.float()
        for name, value in logit_statistics(values)._asdict().items():
            add(f"loss/{name}", value)
        self._embeddings.reached(logits)

    def _follow(self, site: str, result: Tensor, level: _Level) -> None:
        if result.requires_grad:
            # A copy of a number: `loss /= k` would change it too.
            value = result.detach().clone() if result.numel() == 1 else result.detach()
            result.register_hook(partial(self._weigh, site, value, level))

    def _weigh(self, site: str, value: Tensor, level: _Level, gradient: Tensor) -> None:
        if not self._going_back:
            return  # a gradient taken aside by torch.autograd.grad
        with self._session.measuring(site, "loss", gradient):
            weight = self._session.unscaled(gradient.detach().double())
            chance = (weight * level.entry).sum()
            self._session.buffer.add(site, "loss/weight", chance / level.row)
            self._session.buffer.add("", "loss/chance", chance)
            self._session.buffer.add("", "loss/explained", (weight * value.double()).sum())
