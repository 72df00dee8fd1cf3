"""How the two sides of a comparison are laid out as rows: one for each sample."""

from __future__ import annotations

import math

from torch import Tensor

from edgeglass_diag.record.shards import is_measurable

_MOST = 2**22
"""Entries of a side that is looked at."""


def rows_of(values: Tensor) -> Tensor | None:
    """Return (B, ...) as rows (B, D), detached; None where it is no set of at least two rows that can be measured."""
    if values.dim() < 2 or not values.is_floating_point() or values.numel() > _MOST or not is_measurable(values):
        return None
    shape = [size for size in values.shape if size > 1]
    if len(shape) < 2:
        return None
    return values.detach().reshape(shape[0], math.prod(shape[1:]))


def distributions_of(values: Tensor) -> Tensor | None:
    """Return (..., K) as rows (N, K), detached; None where there are not two, or that cannot be measured."""
    if values.dim() < 2 or not values.is_floating_point() or values.numel() > _MOST or not is_measurable(values):
        return None
    rows = values.detach().reshape(-1, values.shape[-1])
    return rows if len(rows) > 1 and rows.shape[1] > 1 else None


def first_view(values: Tensor) -> Tensor | None:
    """Return the first of (V, B, K) as rows (B, K)."""
    return rows_of(values[0]) if values.dim() > 2 else None


def last_view(values: Tensor) -> Tensor | None:
    """Return the last of (V, B, K), which is another than the first where there are two."""
    return rows_of(values[-1]) if values.dim() > 2 else None
