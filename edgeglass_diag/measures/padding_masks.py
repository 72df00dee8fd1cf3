"""Whether a padding mask is that of the tokens which it comes with."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from edgeglass_diag.measures.batches import are_tokens

_SLACK = 1
"""Tokens by which a mask may differ from the padding: an end token that is the padding's own, a single padding."""


class MaskFit(NamedTuple):
    """How a mask compares with the padding of its tokens, 0-d each; NaN where it is no mask of padding.

    Attributes:
        misfit: share of texts whose mask hides more or fewer tokens than they have padding, by more than one.
        hidden: share of positions that the mask sets apart, as padding is.
        borrowed: 1 where it is the padding of other texts of the batch: that of one of them in all rows, or that of all
            in another order.
    """

    misfit: Tensor
    hidden: Tensor
    borrowed: Tensor


def mask_fit(mask: Tensor, tokens: Tensor) -> MaskFit:
    """Compare the runs at the padded end of tokens and of their mask, whichever of its two values hides.

    Padding is a run of one and the same token at one end of a text, as in ``padding``.

    Args:
        mask: (B, L), two values.
        tokens: (B, L) integers.
    """
    left = _run(tokens.flip(-1)).sum() > _run(tokens).sum()
    tokens, mask = (torch.where(left, rows.flip(-1), rows) for rows in (tokens, mask))
    padded = _run(tokens)
    padded = torch.where(padded > 1, padded, 0)
    apart = _run(mask)
    apart = torch.where(apart == mask.shape[1], 0, apart)
    changes = (mask[:, 1:] != mask[:, :-1]).sum(1)
    known = are_tokens(tokens) & (changes <= 1).all() & ((mask == 0) | (mask == 1)).all()
    unknown = torch.where(known, 0.0, torch.nan).double()
    one_for_all = (apart == apart[0]).all() & (apart[0] > 1) & ((padded - apart[0]).abs() <= _SLACK).any()
    moved = ((padded.sort().values - apart.sort().values).abs() <= _SLACK).all()
    misfit = ((padded - apart).abs() > _SLACK).double().mean()
    return MaskFit(misfit + unknown, apart.double().mean() / mask.shape[1] + unknown, (one_for_all | moved) + unknown)


def _run(rows: Tensor) -> Tensor:
    """Return the length of the run of one value at the right end of each row, (B,)."""
    return (rows == rows[:, -1:]).flip(-1).cumprod(-1).sum(-1)
