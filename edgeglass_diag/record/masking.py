"""Remembers how the latest logits were masked: in the logits alone what a mask hides cannot be told any more."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgeglass_diag.measures.attention import AttentionStatistics, attention_statistics, masked_statistics
from edgeglass_diag.measures.logits import EXCLUDED
from edgeglass_diag.measures.masks import narrowed
from edgeglass_diag.measures.sampling import Subset
from edgeglass_diag.record.functions import Function, Observer
from edgeglass_diag.record.session import Session
from edgeglass_diag.sites import Kind

Layout = Callable[[Tensor], tuple[Tensor, Subset]]
"""Lays out (..., L, S) as (B, H, L, S) and chooses a subset of it."""
_Statistics = Callable[[], AttentionStatistics]


class Masking:
    """Observers of what makes masked logits, and statistics of the latest that was made.

    A product with a bias (``baddbmm``) keeps its operands, which autograd keeps as well; ``masked_fill``, ``where``
    and the sum of logits and a smaller tensor without gradient keep a copy of the subset that is looked at. All of
    it is let go by the next one.

    Args:
        session: state of the watch.
        layout: the layout and subset of logits.
    """

    def __init__(self, session: Session, layout: Layout) -> None:
        self._session, self._layout = session, layout
        self._latest: tuple[weakref.ref[Tensor], _Statistics] | None = None

    @property
    def observers(self) -> Mapping[Function, Observer]:
        """The functions observed."""
        table: dict[Function, Observer] = dict.fromkeys((torch.baddbmm, Tensor.baddbmm), self._product)
        table |= dict.fromkeys((torch.masked_fill, Tensor.masked_fill), self._filled)
        table[torch.where] = self._chosen
        return table | dict.fromkeys((torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__), self._added)

    def forget(self) -> None:
        """Let go of what was kept."""
        self._latest = None

    def statistics(self, logits: Tensor) -> AttentionStatistics | None:
        """Statistics that know the mask of these logits; None where it is not known."""
        latest, self._latest = self._latest, None
        return latest[1]() if latest is not None and latest[0]() is logits else None

    def _product(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if len(args) != 3 or kwargs.get("beta", 1) != 1 or args[0].dim() != 3:
            return
        bias, query, key = (t.detach() for t in args)

        def statistics() -> AttentionStatistics:
            laid_out, subset = self._layout(query)
            # A bias for every element is laid out as they are, one for all is broadcast.
            mask = self._layout(bias)[0] if len(bias) == len(query) else bias.unsqueeze(1)
            return attention_statistics(
                laid_out, self._layout(key.mT)[0], mask=mask, scale=kwargs.get("alpha", 1), subset=subset
            )

        self._latest = weakref.ref(result), statistics

    def _filled(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if len(args) == 3 and isinstance(args[2], (int, float)) and args[2] <= EXCLUDED:
            self._keep(result, args[0], ~narrowed(args[1]))

    def _chosen(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if len(args) == 3 and isinstance(args[2], (int, float)) and args[2] <= EXCLUDED and isinstance(args[1], Tensor):
            self._keep(result, args[1], narrowed(args[0]))

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
        with self._session.measuring("", Kind.ATTENTION, logits):
            laid_out, subset = self._layout(logits.detach())
            if laid_out.shape[0] != logits.shape[0]:
                return  # heads were folded into the batch; the mask would have to follow
            if mask.dim() == 3 or logits.dim() == 2:
                mask = mask.unsqueeze(1) if mask.dim() == 3 else mask[:, None, None, :]
            kept = laid_out[subset.batch, :, subset.queries].clone()
            self._latest = weakref.ref(result), lambda: masked_statistics(kept, mask.detach(), subset=subset)
