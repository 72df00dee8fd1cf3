"""Observes attention: fused scaled-dot-product, flex, and an explicit softmax whose weights mix values."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._higher_order_ops.flex_attention import flex_attention

from edgeglass_diag import site_paths
from edgeglass_diag.measures.attention import AttentionStatistics, attention_statistics, softmax_statistics
from edgeglass_diag.measures.flex import flex_logits
from edgeglass_diag.measures.geometry import effective_num_rows
from edgeglass_diag.measures.sampling import Subset
from edgeglass_diag.record.attention_inputs import AttentionInputObserver
from edgeglass_diag.record.attention_layout import AttentionLayout, four_dims, four_dims_mask, outputs_by_heads
from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.masking import MaskObserver
from edgeglass_diag.record.module_sites import ModuleSiteObserver
from edgeglass_diag.record.nested import arguments_in
from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.small_attentions import SmallAttention, SmallAttentions, joint_statistics
from edgeglass_diag.record.torch_functions import CARRYING, FUSED_ATTENTION, PRODUCTS, SCALING, SOFTMAX, bind
from edgeglass_diag.record.unobserved_attention import unobserved_attention
from edgeglass_diag.signals import family
from edgeglass_diag.signals.attention import ATTENTION_EFFECTIVE_NUM_OUTPUTS
from edgeglass_diag.sites import AttentionSite, Coverage, Kind

_SIGNALS = family("attention")

_ROWS = 64
"""Query outputs compared with one another at least: all latents of a usual resampler."""


@dataclass(frozen=True, slots=True, eq=False)
class _Softmax:
    """What is known of the result of a softmax that may yet mix values. ``rows`` is (B, H, L)."""

    path: str
    statistics: AttentionStatistics
    subset: Subset
    rows: tuple[int, int, int] | None
    operands: tuple[Tensor, Tensor] | None = None


class AttentionObserver(Observer):
    """Writes ``attention/*`` of each attention of a training forward pass.

    A softmax counts as attention once its result is multiplied with another activation; the softmax of a
    classifier or a loss is not.

    Args:
        recording: state of the watch.
        layout: lays out logits, and chooses the subset of them that is measured.
        modules: knows which modules ran.
        masks: knows how logits were masked.
        inputs: takes what the logits of each attention are made of, where given.
    """

    def __init__(
        self,
        recording: Recording,
        layout: AttentionLayout,
        modules: ModuleSiteObserver,
        masks: MaskObserver,
        inputs: AttentionInputObserver | None = None,
    ) -> None:
        self._recording, self._layout, self._modules = recording, layout, modules
        self._masks, self._inputs = masks, inputs
        self._pending: Facts[Tensor, _Softmax] = Facts()
        self._seen: set[str] = set()
        self._small = SmallAttentions()

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed."""
        table: dict[Function, FunctionHandler] = {FUSED_ATTENTION: self._fused}
        table[flex_attention] = self._flex
        table |= dict.fromkeys(SOFTMAX, self._softmax)
        table |= dict.fromkeys(CARRYING, self._carry)
        return table | dict.fromkeys((*PRODUCTS, *SCALING), self._mix)

    def window_ends(self) -> None:
        """Write the small attentions, and note which attentions ran without being seen."""
        self._write_small()
        recording = self._recording
        for path, coverage in unobserved_attention(recording.naming.modules, set(self._modules.parents), self._seen):
            recording.sites.cannot_observe(site_of(path, site_paths.child(path, "attention")), coverage)

    def forget(self) -> None:
        """Forget softmax results that were never used."""
        self._pending.clear()
        self._seen.clear()
        self._small.clear()

    def _site(self) -> str:
        module = self._recording.stack.path
        self._seen.add(module)
        path = self._recording.stack.call_path(site_paths.child(module, "attention"))
        self._recording.sites.register_site(site_of(module, path))
        return path

    def _fused(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        site = self._site()
        if given["query"].is_nested:
            self._recording.sites.cannot_observe(AttentionSite(path=site), Coverage.NESTED_TENSOR)
            return
        with self._recording.measuring(site, Kind.ATTENTION):
            query, key = four_dims(given["query"]), four_dims(given["key"])
            mask = _materialized(given.get("attn_mask"), query.device)
            outputs = four_dims(result)
            subset = self._layout.subset(tuple(outputs.shape), key.shape[2])
            causal, scale = bool(given.get("is_causal", False)), given.get("scale")
            if self._inputs is not None:
                self._inputs.take(site, given["query"], given["key"], scale)
            one = SmallAttention(site, query, key, outputs, causal, scale, subset)
            if mask is None and one.is_small:
                self._small.add(one)
                if self._small.is_full:
                    self._write_small()
                return
            laid_out = four_dims_mask(mask, given["query"])
            found = attention_statistics(query, key, mask=laid_out, is_causal=causal, scale=scale, subset=subset)
            self._record(site, found, outputs, subset)

    def _flex(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        query, key, _, score_mod, block_mask, scale, _, score_buffers, mask_buffers = args
        site = self._site()
        with self._recording.measuring(site, Kind.ATTENTION):
            subset = self._layout.subset(tuple(query.shape), key.shape[2])
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
        given = bind(func, args, kwargs)
        logits, dim = given["input"], given.get("dim")
        if not isinstance(dim, int) or logits.dim() < 2 or dim % logits.dim() == 0 or logits.numel() == 0:
            return
        path = self._recording.stack.path
        with self._recording.measuring(path, Kind.ATTENTION):
            laid_out, subset = self._layout.laid_out(logits.detach(), dim)
            statistics = self._masks.statistics(logits) or softmax_statistics(laid_out, subset=subset)
            last = dim % logits.dim() == logits.dim() - 1
            rows = (laid_out.shape[0], laid_out.shape[1], laid_out.shape[2]) if last else None
            operands = None if self._inputs is None else self._inputs.product_of(logits, last=last)
            self._pending.set(result, _Softmax(path, statistics, subset, rows, operands))

    def _carry(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if not self._pending or not isinstance(result, Tensor):
            return
        for tensor in arguments_in(args, kwargs):
            waiting = self._pending.get(tensor)
            if waiting is not None and result.numel() == tensor.numel():
                self._pending.set(result, waiting)

    def _mix(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if not self._pending or not isinstance(result, Tensor):
            return
        operands = arguments_in(args, kwargs)
        for tensor in operands:
            waiting = self._pending.get(tensor)
            if waiting is None:
                continue
            if func in SCALING and result.numel() == tensor.numel():
                self._pending.set(result, waiting)  # a factor per weight mixes nothing
            elif any(o is not tensor and o.dim() >= 2 and not isinstance(o, nn.Parameter) for o in operands):
                self._mixed(waiting, args, tensor, result)
                return

    def _mixed(self, softmax: _Softmax, args: tuple[Any, ...], weights: Tensor, result: Tensor) -> None:
        self._pending.remove(lambda other: other is softmax)
        self._seen.add(softmax.path)  # perhaps a module of its own, nn.Softmax
        site = self._site()
        with self._recording.measuring(site, Kind.ATTENTION):
            outputs = None if softmax.rows is None else outputs_by_heads(args, weights, result, softmax.rows)
            self._record(site, softmax.statistics, outputs, softmax.subset)
            if self._inputs is not None and softmax.operands is not None:
                self._inputs.take(site, *softmax.operands)

    def _record(self, site: str, statistics: AttentionStatistics, outputs: Tensor | None, subset: Subset) -> None:
        add = self._recording.buffer.add
        for name, value in statistics._asdict().items():
            if value is not None:
                add(site, _SIGNALS[name], value)
        if outputs is not None and outputs.shape[2] > 1:
            add(site, ATTENTION_EFFECTIVE_NUM_OUTPUTS, _different_outputs(outputs, subset))

    def _write_small(self) -> None:
        """Write the statistics of the small attentions that wait."""
        for alike in self._small.take():
            with self._recording.measuring(alike[0].site, Kind.ATTENTION):
                each, outputs = joint_statistics(alike)
                for one, statistics in zip(alike, each, strict=True):
                    self._record(one.site, statistics, None, one.subset)
                if outputs.shape[2] > 1:
                    heads = outputs.shape[1] // len(alike)
                    different = torch.split(_different_outputs(outputs, alike[0].subset), heads)
                    for one, value in zip(alike, different, strict=True):
                        self._recording.buffer.add(one.site, ATTENTION_EFFECTIVE_NUM_OUTPUTS, value)


def _different_outputs(outputs: Tensor, subset: Subset) -> Tensor:
    """Return the effective number of different outputs of the queries (B, H, L, D) of each head: (H,)."""
    count = outputs.shape[2]
    some = outputs[subset.batch] if count <= _ROWS else outputs[subset.batch, :, subset.queries]
    return effective_num_rows(some, population=count).mean(0)


def site_of(module: str, path: str) -> AttentionSite:
    """Return the site of an attention of the module at path ``module``."""
    return AttentionSite(path=path, parents=(module,) if module else (), module=module)


def _materialized(mask: Any, device: torch.device) -> Any:
    """A mask as a tensor; the module of torch's ``CausalBias`` imports torch._dynamo, so only the user's code does."""
    bias = sys.modules.get("torch.nn.attention.bias")
    return mask._materialize(device) if bias is not None and isinstance(mask, bias.CausalBias) else mask
