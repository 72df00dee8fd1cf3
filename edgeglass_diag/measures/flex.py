"""The logits of flex attention, where a function of the positions changes or excludes each of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from edgeglass_diag.measures.logits import full
from edgeglass_diag.measures.sampling import Subset

Modification = Callable[..., Tensor]
_DIMS = ((None, None, None, 0), (None, None, 0, None), (None, 0, None, None), (0, None, None, None))


def flex_logits(
    query: Tensor, key: Tensor, *, score_mod: Modification, mask_mod: Modification, scale: float, subset: Subset
) -> Tensor:
    """score_mod(scale q k^T, b, h, i, j) where mask_mod(b, h, i, j), and -inf elsewhere, in float32 at least.

    Args:
        query: (B, H, L, E).
        key: (B, Hk, S, E) with H a multiple of Hk.
        score_mod: (score, b, h, i, j) -> score, for scalars.
        mask_mod: (b, h, i, j) -> bool, for scalars.
        scale: factor before score_mod.
        subset: which batch elements and queries.

    Returns:
        (b, H, n, S): materialised, so a subset is what keeps it small.
    """
    heads, keys = query.shape[1], key.shape[2]
    chosen = full(query[subset.batch, :, subset.queries]) * scale
    own = full(key.expand(query.shape[0], -1, -1, -1)[subset.batch]).repeat_interleave(heads // key.shape[1], dim=1)
    scores = chosen @ own.mT
    device = query.device
    positions = (
        torch.arange(query.shape[0], device=device)[subset.batch],
        torch.arange(heads, device=device),
        torch.arange(query.shape[2], device=device)[subset.queries],
        torch.arange(keys, device=device),
    )
    modified, allowed = score_mod, mask_mod
    for dims in _DIMS:
        modified = torch.vmap(modified, in_dims=(0, *dims))
        allowed = torch.vmap(allowed, in_dims=dims)
    scores = modified(scores, *positions)
    return torch.where(allowed(*positions), scores, -torch.inf)
