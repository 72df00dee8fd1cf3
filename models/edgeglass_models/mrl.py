"""Matryoshka head: prefixes of one embedding, each normalised separately.

Source: Matryoshka Representation Learning, https://arxiv.org/abs/2205.13147.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import normalize


class MatryoshkaHead(nn.Module):
    """Slice, then normalise: every prefix is a unit vector.

    Args:
        width: full width D.
        dims: widths of the prefixes, each in [1, D]; sorted descending.

    Raises:
        ValueError: for a prefix wider than D or below 1, or an empty list.
    """

    def __init__(self, width: int, dims: Sequence[int]) -> None:
        super().__init__()
        if not dims or min(dims) < 1 or max(dims) > width:
            raise ValueError(f"mrl_dims must be in [1, {width}] and not empty, got {list(dims)}")
        self.dims = tuple(sorted(set(dims), reverse=True))

    def forward(self, embedding: Tensor, dim: int | None = None) -> Tensor:
        """Return the unit-norm prefix (B, dim) of (B, D); the whole embedding if ``dim`` is None."""
        prefix = embedding if dim is None else embedding[..., :dim]
        return normalize(prefix, dim=-1)
