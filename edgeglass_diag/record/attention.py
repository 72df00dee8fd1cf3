"""Observes attention: fused scaled-dot-product attention, and an explicit softmax whose weights mix values."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edgeglass_diag.measures.attention import AttentionStatistics, attention_statistics, softmax_statistics
from edgeglass_diag.measures.geometry import distinct_rows
from edgeglass_diag.record.functions import Function, Observer
from edgeglass_diag.record.lineage import tensors_in
from edgeglass_diag.record.session import Session

SOFTMAX: tuple[Function, ...] = (functional.softmax, torch.softmax, Tensor.softmax)
MIXING: tuple[Function, ...] = (
    torch.matmul, torch.bmm, torch.baddbmm, torch.einsum, Tensor.matmul, Tensor.bmm, Tensor.__matmul__,
    Tensor.__rmatmul__, torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__,
)  # fmt: skip
CARRYING: tuple[Function, ...] = (
    functional.dropout, torch.dropout, Tensor.to, Tensor.type_as, Tensor.float, Tensor.half, Tensor.bfloat16,
    Tensor.view, Tensor.reshape, Tensor.unsqueeze, Tensor.transpose, Tensor.squeeze, Tensor.contiguous,
    torch.unsqueeze, Tensor.__getitem__,
)  # fmt: skip


class AttentionTap:
    """Observers that write ``attention/*`` statistics of each attention of a training forward pass.

    A softmax counts as attention once its result is multiplied with another activation; the softmax of a
    classifier or a loss is not.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pending: dict[int, tuple[weakref.ref[Tensor], str, AttentionStatistics]] = {}

    @property
    def observers(self) -> Mapping[Function, Observer]:
        """The functions observed."""
        table: dict[Function, Observer] = {functional.scaled_dot_product_attention: self._fused}
        table |= dict.fromkeys(SOFTMAX, self._softmax)
        table |= dict.fromkeys(CARRYING, self._carry)
        table |= dict.fromkeys(MIXING, self._mix)
        return table

    def end_window(self) -> None:
        """Forget softmax results that were never used."""
        self._pending.clear()

    def _site(self) -> str:
        path = self._session.stack[-1].site if self._session.stack else ""
        return self._session.occurrence(f"{path}.attention" if path else "attention")

    def _fused(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        given = dict(zip(names, args, strict=False)) | kwargs
        query, key = given["query"], given["key"]
        site = self._site()
        with self._session.measuring(site, "attention", query):
            statistics = attention_statistics(
                _four_dims(query),
                _four_dims(key),
                mask=given.get("attn_mask"),
                is_causal=bool(given.get("is_causal", False)),
                scale=given.get("scale"),
            )
            self._record(site, statistics)
            self._session.buffer.add(site, "attention/distinct", distinct_rows(_four_dims(result)).mean(0))

    def _softmax(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        logits = args[0] if args else kwargs["input"]
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        if not isinstance(dim, int) or logits.dim() < 2 or dim % logits.dim() != logits.dim() - 1:
            return
        site = self._site()
        with self._session.measuring(site, "attention", logits):
            statistics = softmax_statistics(_logits_4d(logits))
            self._pending[id(result)] = (weakref.ref(result), site, statistics)

    def _waiting(self, tensor: Tensor) -> tuple[weakref.ref[Tensor], str, AttentionStatistics] | None:
        entry = self._pending.get(id(tensor))
        return entry if entry is not None and entry[0]() is tensor else None

    def _carry(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if not self._pending or not isinstance(result, Tensor):
            return
        for tensor in tensors_in([args, kwargs]):
            waiting = self._waiting(tensor)
            if waiting is not None and result.numel() == tensor.numel():
                self._pending[id(result)] = (weakref.ref(result), *waiting[1:])

    def _mix(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if not self._pending:
            return
        operands = list(tensors_in([args, kwargs]))
        for tensor in operands:
            waiting = self._waiting(tensor)
            partners = [other for other in operands if other is not tensor and other.dim() >= 2]
            if waiting is None or not partners or all(isinstance(p, torch.nn.Parameter) for p in partners):
                continue
            self._record(waiting[1], waiting[2])
            for key in [k for k, entry in self._pending.items() if entry[1] == waiting[1]]:
                del self._pending[key]
            if isinstance(result, Tensor) and result.dim() == 4:
                with self._session.measuring(waiting[1], "attention", result):
                    distinct = distinct_rows(result).mean(0)
                    self._session.buffer.add(waiting[1], "attention/distinct", distinct)

    def _record(self, site: str, statistics: AttentionStatistics) -> None:
        session = self._session
        path = session.stack[-1].site if session.stack else ""
        session.see(site, "attention", parents=(path,) if path else ())
        for name, value in statistics._asdict().items():
            session.buffer.add(site, f"attention/{name}", value)


def _four_dims(values: Tensor) -> Tensor:
    """(..., H, L, E) with leading dims folded; (B, L, E) has one head."""
    if values.dim() == 3:
        return values.unsqueeze(1)
    return values.flatten(0, -4) if values.dim() > 4 else values


def _logits_4d(logits: Tensor) -> Tensor:
    """2-D (B, S) pooling scores and 3-D (B, L, S) logits as one head; 4-D (B, H, L, S) as they are."""
    if logits.dim() == 2:
        return logits[:, None, None, :]
    return logits.unsqueeze(1) if logits.dim() == 3 else logits.flatten(0, -4)
