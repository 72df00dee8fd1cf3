"""How attention lays out batch, heads, queries and keys, which part is measured, and where mixed values end up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from edgeglass_diag.measures.sampling import Subset, strided_subset
from edgeglass_diag.record.module_stack import ModuleStack

LOGITS = 2**18
"""Logits measured per attention and call by default.

A fortieth of an attention of 64 latents over 321 tokens in 8 heads at batch 64: what is read then costs well below 1 %
of a step of the resampler around it. Independent samples come first, so that the standard error stays small: with 8
samples whose mean entropies differ by 0.01 it is 0.004.
"""


class AttentionLayout:
    """Lays out logits and chooses the part of them that is measured.

    Args:
        stack: the running modules, whose innermost may know its heads.
        budget: the most logits measured per attention and call; a strided subset of batch elements and queries is
            taken where there are more, and its standard error recorded. All where None.
    """

    def __init__(self, stack: ModuleStack, budget: int | None = LOGITS) -> None:
        self._stack, self._budget = stack, budget

    def laid_out(self, logits: Tensor, dim: int = -1) -> tuple[Tensor, Subset]:
        """Return logits of a softmax over ``dim`` as (B, H, L, S), and the subset of them that is measured."""
        laid_out, folded = by_heads(logits, dim, self._heads())
        return laid_out, self.subset(tuple(laid_out.shape), laid_out.shape[3], folded=folded)

    def subset(self, like: tuple[int, ...], keys: int, *, folded: bool = False) -> Subset:
        """Return the subset that is measured of an attention with queries (B, H, L, ...)."""
        batch, heads, queries = like[:3]
        return strided_subset(batch, queries, heads * keys, self._budget, folded=folded)

    def _heads(self) -> int:
        """Return the heads that nn.MultiheadAttention folds into the batch where weights are wanted."""
        module = self._stack.module
        return module.num_heads if isinstance(module, nn.MultiheadAttention) else 1


def four_dims(values: Tensor) -> Tensor:
    """(..., H, L, E) with leading dims folded; (B, L, E) has one head."""
    if values.dim() < 4:
        return values.unsqueeze(1)
    return values if values.dim() == 4 else values.flatten(0, -4)


def four_dims_mask(mask: Tensor | None, query: Tensor) -> Tensor | None:
    """The mask of attention with ``query`` (..., L, E), fit for ``four_dims(query)``."""
    if mask is None or mask.dim() < 3 or query.dim() == 4:
        return mask
    if query.dim() == 3:
        return mask.unsqueeze(1)
    return mask.expand(*query.shape[:-2], -1, -1).flatten(0, -4)


def by_heads(logits: Tensor, dim: int, heads: int) -> tuple[Tensor, bool]:
    """Logits of a softmax over ``dim`` as (B, H, L, S), and whether the batch dimension holds heads as well.

    (B, H, L, S) with the softmax last is the one layout whose second dimension is known to be heads, and so are
    (B H, L, S) where ``heads`` are known. All others give one component: 2-D pooling scores (B, S), scores (B, S, K)
    over dim 1 with the rest as queries, (B, L, S), (B H, L, S) and what has more dims.
    """
    last = dim % logits.dim() == logits.dim() - 1
    moved = logits if last else logits.movedim(dim, -1)
    if moved.dim() == 2:
        return moved[:, None, None, :], False
    if moved.dim() == 3 and last and heads > 1 and moved.shape[0] % heads == 0:
        return moved.view(-1, heads, *moved.shape[1:]), False
    if moved.dim() == 3:
        return moved.unsqueeze(1), last
    return (moved, False) if moved.dim() == 4 and last else (moved.flatten(0, -3).unsqueeze(1), True)


def outputs_by_heads(
    operands: Sequence[Any], weights: Tensor, result: Tensor, rows: tuple[int, int, int]
) -> Tensor | None:
    """What the queries got, (B, H, L, D), where that is clear; None elsewhere.

    Args:
        operands: positional arguments of the function that mixed values, an einsum's equation first.
        weights: the operand that derives from a softmax over its last dimension.
        result: what the function gave.
        rows: (B, H, L).
    """
    outputs: Tensor | None = result
    if operands and isinstance(operands[0], str):
        flat = list(operands[1]) if len(operands) == 2 and isinstance(operands[1], (list, tuple)) else operands[1:]
        outputs = _rows_first(operands[0], next(i for i, o in enumerate(flat) if o is weights), result)
    elif not operands or operands[0] is not weights or weights.dim() < 3:
        return None
    if outputs is None or outputs.shape[-2] != rows[2] or math.prod(outputs.shape[:-1]) != math.prod(rows):
        return None
    return outputs.reshape(*rows, outputs.shape[-1])


def _rows_first(equation: str, position: int, result: Tensor) -> Tensor | None:
    """An einsum's result with the dimensions that it shares with the weights in their order and one other last."""
    inputs, _, output = equation.replace(" ", "").partition("->")
    order = [output.find(label) for label in inputs.split(",")[position][:-1]]
    rest = [i for i in range(len(output)) if i not in order]
    if "." in equation or -1 in order or len(rest) != 1 or len(order) < 2:
        return None
    return result.permute(*order, *rest)
