"""Which keys a query may see: boolean and additive masks, causality, and the padding keys among them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgeglass_diag.measures.logits import EXCLUDED, QueryStatistics, query_statistics
from edgeglass_diag.measures.sampling import Subset


@dataclass(frozen=True, eq=False)
class Mask:
    """The mask of the chosen batch elements and queries, turned into numbers block by block.

    Attributes:
        values: bool or additive, (b or 1, H or 1, n or 1, S).
        padding: True where no query of the sample may see the key, (b or 1, H or 1, 1, S); None where all are seen.
        positions: (n, 1) positions of the chosen queries where attention is causal.
    """

    values: Tensor | None
    padding: Tensor | None
    positions: Tensor | None

    @staticmethod
    def of(mask: Tensor | None, *, is_causal: bool, query: Tensor, keys: int, subset: Subset) -> Mask:
        """The mask of a subset.

        Args:
            mask: bool (True attends) or additive, broadcastable to (B, H, L, S); may be None.
            is_causal: query i sees the keys 0..i.
            query: (B, H, L, E), for its length and device.
            keys: number S of keys.
            subset: the batch elements and queries chosen.
        """
        positions = torch.arange(query.shape[2], device=query.device)[subset.queries, None] if is_causal else None
        if mask is None:  # causality hides from all queries what lies behind the last of them
            beyond = torch.arange(keys, device=query.device) >= query.shape[2]
            return Mask(None, beyond[None, None, None] if is_causal else None, positions)
        values = narrowed(mask)[(None,) * (4 - mask.dim())]
        values = _taken(values.expand(*values.shape[:3], keys), 0, subset.batch)
        if values.dtype == torch.bool:
            return Mask(_taken(values, 2, subset.queries), ~values.any(2, keepdim=True), positions)
        chosen = _lowered(_taken(values, 2, subset.queries))
        seen = _allowed((chosen if values.shape[2] == 1 else values).amax(2, keepdim=True))
        return Mask(chosen, ~seen, positions)

    def statistics(self, logits: Tensor, elements: slice, rows: slice) -> QueryStatistics:
        """Statistics of one block of unmasked logits, which is overwritten."""
        valid: Tensor | None = None
        if self.positions is not None:
            keys = torch.arange(logits.shape[-1], device=logits.device)
            valid = (keys <= self.positions[rows]).to(logits.dtype)[None, None]
        padding = None if self.padding is None else _taken(self.padding, 0, elements).to(logits.dtype)
        if self.values is None:
            return query_statistics(logits, valid, padding=padding)
        part = _taken(_taken(self.values, 0, elements), 2, rows)
        allowed = _allowed(part).to(logits.dtype)
        return query_statistics(
            logits,
            allowed if valid is None else allowed * valid,
            padding=padding,
            bias=None if part.dtype == torch.bool else part.to(logits.dtype).clamp_min(EXCLUDED),
        )


def first_query_keys(
    mask: Tensor | None, *, is_causal: bool, heads: int, queries: int, keys: int, device: torch.device
) -> Tensor | None:
    """Most keys that the query at position 0 sees in any sample, (H,): 1 at most under a causal mask.

    None where nothing is masked, and where the queries are not as many as the keys, so that it is no self-attention, or
    there is one alone.

    Args:
        mask: bool (True attends) or additive, broadcastable to (B, H, L, S); may be None.
        is_causal: query i sees the keys 0..i.
        heads: number H of heads.
        queries: number L of queries.
        keys: number S of keys.
        device: of the attention.
    """
    if queries != keys or keys < 2 or (mask is None and not is_causal):
        return None
    if mask is None:
        return torch.ones(heads, device=device)
    row = narrowed(mask)[(None,) * (4 - mask.dim())][:, :, 0]
    seen = _allowed(row if row.dtype == torch.bool else _lowered(row)).expand(*row.shape[:2], keys)
    return seen[..., : 1 if is_causal else None].sum(-1).amax(0).float().expand(heads)


def narrowed(mask: Tensor) -> Tensor:
    """The same mask with each dimension that merely repeats one value, as ``expand`` makes them, of size 1."""
    for dim, stride in enumerate(mask.stride()):
        mask = mask.narrow(dim, 0, 1) if stride == 0 and mask.shape[dim] > 1 else mask
    return mask


def _taken(values: Tensor, dim: int, chosen: slice) -> Tensor:
    """A slice along one dimension, unless it is broadcast."""
    return values if values.shape[dim] == 1 else values[(slice(None),) * dim + (chosen,)]


def _lowered(values: Tensor) -> Tensor:
    """An additive mask less its largest value in each row, where that alone takes all weight from keys at 0.

    A softmax does not see what is added to a whole row: +1e4 on some keys excludes the others, as -1e4 on those does.
    """
    top = values.amax(-1, keepdim=True)
    return values - torch.where((top >= -EXCLUDED) & top.isfinite(), top, 0.0)


def _allowed(values: Tensor) -> Tensor:
    """Compared in this direction a NaN in the mask stays valid, and is seen."""
    return values if values.dtype == torch.bool else (values <= EXCLUDED).logical_not()
