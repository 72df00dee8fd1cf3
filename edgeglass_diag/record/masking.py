"""Observes how the latest logits were masked: the masked logits alone do not show what the mask hides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgeglass_diag.measures.attention import AttentionStatistics, attention_statistics, masked_statistics
from edgeglass_diag.measures.logits import EXCLUDED
from edgeglass_diag.measures.masks import narrowed
from edgeglass_diag.record.attention_layout import AttentionLayout
from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.torch_functions import BIASED_PRODUCTS, FILLING, SUMS, bind
from edgeglass_diag.sites import Kind

_Statistics = Callable[[], AttentionStatistics]


class MaskObserver(Observer):
    """Observes what makes masked logits, and has statistics of the latest that was made.

    A product with a bias (``baddbmm``) keeps its operands, which autograd keeps as well; ``masked_fill``, ``where``
    and the sum of logits and a smaller tensor without gradient keep a copy of the subset that is looked at. All of
    it is let go by the next one.

    Args:
        recording: state of the watch.
        layout: the layout and subset of logits.
    """

    def __init__(self, recording: Recording, layout: AttentionLayout) -> None:
        self._recording, self._layout = recording, layout
        self._latest: Facts[Tensor, _Statistics] = Facts()  # of one tensor at most

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed."""
        table: dict[Function, FunctionHandler] = dict.fromkeys(BIASED_PRODUCTS, self._product)
        table |= dict.fromkeys(FILLING, self._filled)
        table[torch.where] = self._chosen
        return table | dict.fromkeys(SUMS, self._added)

    def forget(self) -> None:
        """Let go of what was kept."""
        self._latest.clear()

    def statistics(self, logits: Tensor) -> AttentionStatistics | None:
        """Return statistics that know the mask of these logits; None where it is not known."""
        latest = self._latest.get(logits)
        self._latest.clear()
        return None if latest is None else latest()

    def _product(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        if given.get("beta", 1) != 1 or given["input"].dim() != 3:
            return
        bias, query, key = (given[name].detach() for name in ("input", "batch1", "batch2"))

        def statistics() -> AttentionStatistics:
            laid_out, subset = self._layout.laid_out(query)
            # A bias for every element is laid out as they are, one for all is broadcast.
            mask = self._layout.laid_out(bias)[0] if len(bias) == len(query) else bias.unsqueeze(1)
            keys = self._layout.laid_out(key.mT)[0]
            return attention_statistics(laid_out, keys, mask=mask, scale=given.get("alpha", 1), subset=subset)

        self._note(result, statistics)

    def _filled(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        if _excludes(given.get("value")):
            self._keep(result, given["input"], ~narrowed(given["mask"]))

    def _chosen(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        logits = given.get("input")
        if _excludes(given.get("other")) and isinstance(logits, Tensor):
            self._keep(result, logits, narrowed(given["condition"]))

    def _added(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if len(args) != 2 or kwargs or not (isinstance(args[0], Tensor) and isinstance(args[1], Tensor)):
            return
        mask, logits = sorted(args, key=lambda operand: operand.numel())
        if mask.numel() < logits.numel() and not mask.requires_grad and mask.is_floating_point():
            self._keep(result, logits, mask)

    def _keep(self, result: Tensor, logits: Tensor, mask: Tensor) -> None:
        fits = 2 <= logits.dim() <= 4 and 2 <= mask.dim() <= logits.dim() and mask.shape[-1] in (1, logits.shape[-1])
        if not fits or isinstance(mask, nn.Parameter) or result.shape != logits.shape or logits.numel() == 0:
            return
        with self._recording.measuring("", Kind.ATTENTION):
            laid_out, subset = self._layout.laid_out(logits.detach())
            if laid_out.shape[0] != logits.shape[0]:
                return  # heads were folded into the batch; the mask would have to follow
            if mask.dim() == 3 or logits.dim() == 2:
                mask = mask.unsqueeze(1) if mask.dim() == 3 else mask[:, None, None, :]
            kept = laid_out[subset.batch, :, subset.queries].clone()
            self._note(result, lambda: masked_statistics(kept, mask.detach(), subset=subset))

    def _note(self, logits: Tensor, statistics: _Statistics) -> None:
        self._latest.clear()
        self._latest.set(logits, statistics)


def _excludes(fill: object) -> bool:
    """Return whether a logit of this value gets no weight."""
    return isinstance(fill, (int, float)) and fill <= EXCLUDED
