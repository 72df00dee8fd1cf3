"""Norms of gradients and updates over lists of parameters, in one fused call each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def norms(tensors: Sequence[Tensor]) -> Tensor:
    """L2 norm of each tensor, stacked in float32: (len(tensors),)."""
    if not tensors:
        return torch.empty(0)
    return torch.stack([norm.float() for norm in torch._foreach_norm(list(tensors))])


def update_ratios(before: Sequence[Tensor], after: Sequence[Tensor]) -> Tensor:
    """|after - before| / |before| of each tensor; inf where a zero tensor moved, 0 where it did not.

    About 1e-3 is usual, https://cs231n.github.io/neural-networks-3/#ratio.

    Args:
        before: parameters before the optimizer step.
        after: the same parameters after it, same order and shapes.

    Returns:
        (len(before),) in float32.
    """
    moved = norms(torch._foreach_sub(list(after), list(before))) if before else torch.empty(0)
    return torch.where(moved == 0, torch.zeros_like(moved), moved / norms(before))


def nonfinite_count(tensors: Sequence[Tensor]) -> Tensor:
    """Number of NaN and infinite entries of each tensor: (len(tensors),) in float32."""
    if not tensors:
        return torch.empty(0)
    return torch.stack([(~torch.isfinite(tensor)).sum().float() for tensor in tensors])
