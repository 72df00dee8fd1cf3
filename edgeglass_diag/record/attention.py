"""Observes attention: fused scaled-dot-product, flex, and an explicit softmax whose weights mix values."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._higher_order_ops.flex_attention import flex_attention
from torch.nn import functional

from edgeglass_diag import site_paths
from edgeglass_diag.measures.attention import AttentionStatistics, attention_statistics, softmax_statistics
from edgeglass_diag.measures.flex import flex_logits
from edgeglass_diag.measures.geometry import distinct_rows
from edgeglass_diag.measures.sampling import Subset, strided_subset
from edgeglass_diag.record.attention_inputs import OperandTap
from edgeglass_diag.record.attention_layout import by_heads, four_dims, four_dims_mask, outputs_by_heads
from edgeglass_diag.record.functions import Function, Observer, merged
from edgeglass_diag.record.masking import Masking
from edgeglass_diag.record.session import Session
from edgeglass_diag.record.tensor_sources import tensors_in
from edgeglass_diag.record.unobserved_attention import unobserved_attention
from edgeglass_diag.signals import family
from edgeglass_diag.signals.attention import ATTENTION_EFFECTIVE_NUM_OUTPUTS
from edgeglass_diag.sites import AttentionSite, Coverage, Kind

LOGITS = 2**18
"""Logits looked at per attention and call, unless told otherwise.

A fortieth of an attention of 64 latents over 321 tokens in 8 heads at batch 64: what is read then costs well below 1 %
of a step of the resampler around it. Independent samples come first, so that the standard error stays small: with 8
samples whose mean entropies differ by 0.01 it is 0.004.
"""

_SIGNALS = family("attention")

_ROWS = 64
"""Query outputs compared with one another at least: all latents of a usual resampler."""

_MT: Function = Tensor.mT.__get__  # type: ignore[attr-defined]
SOFTMAX: tuple[Function, ...] = (functional.softmax, torch.softmax, Tensor.softmax, torch.special.softmax)
PRODUCTS: tuple[Function, ...] = (
    torch.matmul, torch.bmm, torch.baddbmm, torch.einsum, Tensor.matmul, Tensor.bmm, Tensor.baddbmm,
    Tensor.__matmul__, Tensor.__rmatmul__,
)  # fmt: skip
SCALING: tuple[Function, ...] = (torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__)
CARRYING: tuple[Function, ...] = (
    functional.dropout, torch.dropout, Tensor.to, Tensor.type_as, Tensor.float, Tensor.half, Tensor.bfloat16,
    Tensor.double, Tensor.view, Tensor.reshape, torch.reshape, Tensor.flatten, torch.flatten, Tensor.unflatten,
    Tensor.squeeze, torch.squeeze, Tensor.unsqueeze, torch.unsqueeze, Tensor.transpose, torch.transpose,
    Tensor.permute, torch.permute, Tensor.movedim, torch.movedim, _MT,
    Tensor.contiguous, Tensor.clone, Tensor.__getitem__, Tensor.masked_fill, torch.masked_fill, torch.nan_to_num,
    Tensor.nan_to_num, Tensor.div, torch.div, Tensor.__truediv__,
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Softmax:
    """The result of a softmax, or what derives from it, that may yet mix values. ``rows`` is (B, H, L)."""

    weights: weakref.ref[Tensor]
    path: str
    statistics: AttentionStatistics
    subset: Subset
    rows: tuple[int, int, int] | None
    origin: object
    operands: tuple[Tensor, Tensor] | None = None


class AttentionTap:
    """Observers that write ``attention/*`` statistics of each attention of a training forward pass.

    A softmax counts as attention once its result is multiplied with another activation; the softmax of a
    classifier or a loss is not.

    Args:
        session: state of the watch.
        logits: the most logits looked at per attention and call; a strided subset of batch elements and queries is
            taken where there are more, and its standard error recorded. All, whatever it costs, where None.
        operands: told what the logits of each attention are made of, where given.
    """

    def __init__(self, session: Session, *, logits: int | None = LOGITS, operands: OperandTap | None = None) -> None:
        self._session, self._budget, self._operands = session, logits, operands
        self._pending: dict[int, _Softmax] = {}
        self._masking = Masking(session, self._laid_out)
        self._seen: set[str] = set()

    @property
    def observers(self) -> Mapping[Function, Observer]:
        """The functions observed."""
        table: dict[Function, Observer] = {functional.scaled_dot_product_attention: self._fused}
        table[flex_attention] = self._flex
        table |= dict.fromkeys(SOFTMAX, self._softmax)
        table |= dict.fromkeys(CARRYING, self._carry)
        table |= dict.fromkeys((*PRODUCTS, *SCALING), self._mix)
        return merged(table, self._masking.observers)

    def end_window(self) -> None:
        """Forget softmax results that were never used; say which attentions ran unseen."""
        session = self._session
        for path, coverage in unobserved_attention(session.naming.modules, set(session.parents), self._seen):
            session.sites.cannot_observe(_site_of(path, site_paths.child(path, "attention")), coverage)
        self._pending.clear()
        self._seen.clear()
        self._masking.forget()

    def _path(self) -> str:
        return self._session.stack[-1].site if self._session.stack else ""

    def _site(self, path: str) -> str:
        self._seen.add(path)
        site = self._session.occurrence(site_paths.child(path, "attention"))
        self._session.sites.register_site(_site_of(path, site))
        return site

    def _subset(self, like: tuple[int, ...], keys: int, *, folded: bool = False) -> Subset:
        batch, heads, queries = like[:3]
        return strided_subset(batch, queries, heads * keys, self._budget, folded=folded)

    def _fused(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        given = dict(zip(names, args, strict=False)) | kwargs
        site = self._site(self._path())
        if given["query"].is_nested:
            self._session.sites.cannot_observe(AttentionSite(path=site), Coverage.NESTED_TENSOR)
            return
        with self._session.measuring(site, Kind.ATTENTION, given["query"]):
            query, key = four_dims(given["query"]), four_dims(given["key"])
            mask = _materialized(given.get("attn_mask"), query.device)
            outputs = four_dims(result)
            subset = self._subset(tuple(outputs.shape), key.shape[2])
            statistics = attention_statistics(
                query,
                key,
                mask=four_dims_mask(mask, given["query"]),
                is_causal=bool(given.get("is_causal", False)),
                scale=given.get("scale"),
                subset=subset,
            )
            self._record(site, statistics, outputs, subset)
            if self._operands is not None:
                self._operands.take(site, given["query"], given["key"], given.get("scale"))

    def _flex(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        query, key, _, score_mod, block_mask, scale, _, score_buffers, mask_buffers = args
        site = self._site(self._path())
        with self._session.measuring(site, Kind.ATTENTION, query):
            subset = self._subset(tuple(query.shape), key.shape[2])
            logits = flex_logits(
                query,
                key,
                score_mod=lambda *scalars: score_mod(*scalars, *score_buffers),
                mask_mod=lambda *scalars: block_mask[-1](*scalars, *mask_buffers),
                scale=scale,
                subset=subset,
            )
            self._record(site, softmax_statistics(logits, subset=subset, taken=True), result[0], subset)

    def _softmax(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        logits = args[0] if args else kwargs["input"]
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        if not isinstance(dim, int) or logits.dim() < 2 or dim % logits.dim() == 0 or logits.numel() == 0:
            return
        path = self._path()
        with self._session.measuring(path, Kind.ATTENTION, logits):
            laid_out, subset = self._laid_out(logits.detach(), dim)
            statistics = self._masking.statistics(logits) or softmax_statistics(laid_out, subset=subset)
            last = dim % logits.dim() == logits.dim() - 1
            rows = (laid_out.shape[0], laid_out.shape[1], laid_out.shape[2]) if last else None
            operands = None if self._operands is None else self._operands.product_of(logits, last=last)
            self._wait(result, _Softmax(weakref.ref(result), path, statistics, subset, rows, object(), operands))

    def _laid_out(self, logits: Tensor, dim: int = -1) -> tuple[Tensor, Subset]:
        laid_out, folded = by_heads(logits, dim, self._heads())
        return laid_out, self._subset(tuple(laid_out.shape), laid_out.shape[3], folded=folded)

    def _heads(self) -> int:
        """Heads that nn.MultiheadAttention folds into the batch where weights are wanted."""
        module = self._session.stack[-1].module if self._session.stack else None
        return module.num_heads if isinstance(module, nn.MultiheadAttention) else 1

    def _wait(self, tensor: Tensor, softmax: _Softmax) -> None:
        self._pending[id(tensor)] = replace(softmax, weights=weakref.ref(tensor))

    def _waiting(self, tensor: Tensor) -> _Softmax | None:
        entry = self._pending.get(id(tensor))
        return entry if entry is not None and entry.weights() is tensor else None

    def _carry(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if not self._pending or not isinstance(result, Tensor):
            return
        for tensor in tensors_in([args, kwargs]):
            waiting = self._waiting(tensor)
            if waiting is not None and result.numel() == tensor.numel():
                self._wait(result, waiting)

    def _mix(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if not self._pending or not isinstance(result, Tensor):
            return
        operands = list(tensors_in([args, kwargs]))
        for tensor in operands:
            waiting = self._waiting(tensor)
            if waiting is None:
                continue
            if func in SCALING and result.numel() == tensor.numel():
                self._wait(result, waiting)  # a factor per weight mixes nothing
            elif any(o is not tensor and o.dim() >= 2 and not isinstance(o, nn.Parameter) for o in operands):
                self._mixed(waiting, args, tensor, result)
                return

    def _mixed(self, softmax: _Softmax, args: tuple[Any, ...], weights: Tensor, result: Tensor) -> None:
        # By identity: the id of a tensor that is gone may belong to another softmax by now.
        self._pending = {i: entry for i, entry in self._pending.items() if entry.origin is not softmax.origin}
        self._seen.add(softmax.path)  # perhaps a module of its own, nn.Softmax
        site = self._site(self._path())
        with self._session.measuring(site, Kind.ATTENTION, result):
            outputs = None if softmax.rows is None else outputs_by_heads(args, weights, result, softmax.rows)
            self._record(site, softmax.statistics, outputs, softmax.subset)
            if self._operands is not None and softmax.operands is not None:
                self._operands.take(site, *softmax.operands)

    def _record(self, site: str, statistics: AttentionStatistics, outputs: Tensor | None, subset: Subset) -> None:
        add = self._session.buffer.add
        for name, value in statistics._asdict().items():
            if value is not None:
                add(site, _SIGNALS[name], value)
        if outputs is not None and outputs.shape[2] > 1:
            count = outputs.shape[2]
            some = outputs[subset.batch] if count <= _ROWS else outputs[subset.batch, :, subset.queries]
            add(site, ATTENTION_EFFECTIVE_NUM_OUTPUTS, distinct_rows(some, population=count).mean(0))


def _site_of(module: str, path: str) -> AttentionSite:
    """Return the site of an attention of the module at path ``module``."""
    return AttentionSite(path=path, parents=(module,) if module else (), module=module)


def _materialized(mask: Any, device: torch.device) -> Any:
    """A mask as a tensor; the module of torch's ``CausalBias`` imports torch._dynamo, so only the user's code does."""
    bias = sys.modules.get("torch.nn.attention.bias")
    return mask._materialize(device) if bias is not None and isinstance(mask, bias.CausalBias) else mask
