"""What a batch looks like: fingerprints, repeated samples, the range of images, padding of texts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgeglass_diag.measures.activations import subset

_GAMMA, _FIRST, _SECOND = (c - 2**64 for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def row_fingerprints(batch: Tensor) -> Tensor:
    """One number for each sample, equal for equal samples and almost surely different for others: (B,) in int64.

    A sum modulo 2^64 of the bits of at most 4096 evenly strided entries, each times a mixed position. It is exact:
    sums of floating numbers depend on where in a batch a sample stands.

    Source: the mixing is that of SplitMix64, Fast Splittable Pseudorandom Number Generators,
    https://doi.org/10.1145/2660193.2660195

    Args:
        batch: (B, ...), any dtype.
    """
    batch = torch.view_as_real(batch) if batch.is_complex() else batch
    rows = subset(batch.flatten(1) if batch.dim() > 1 else batch.unsqueeze(1), 0, limit=4096 * batch.shape[0])
    if rows.is_floating_point():
        rows = (rows + 0.0).contiguous()  # a negative zero is a zero
        rows = rows.view(_BITS[rows.element_size()])
    return (rows.long() * mixed(rows.shape[1], rows.device)).sum(1)


def mixed(count: int, device: torch.device) -> Tensor:
    """Numbers without a pattern for the positions 1 to ``count``: (count,) in int64."""
    value = torch.arange(1, count + 1, device=device) * _GAMMA
    value = (value ^ (value >> 30)) * _FIRST
    value = (value ^ (value >> 27)) * _SECOND
    return value ^ (value >> 31)


def joint_fingerprints(inputs: Sequence[Tensor]) -> Tensor:
    """One number for each row of several inputs together, equal where the row equals another in all of them: (B,).

    Args:
        inputs: row fingerprints of each input, (B,) in int64, in the order of the calls.
    """
    return (torch.stack(list(inputs), 1) * mixed(len(inputs), inputs[0].device)).sum(1)


def fingerprint(rows: Tensor) -> Tensor:
    """One number for a batch, equal for equal batches in equal order: 0-d in float64, in [-1, 1).

    Args:
        rows: row fingerprints (B,).
    """
    return ((rows * mixed(len(rows), rows.device)).sum() >> 11).double() / 2.0**52


def repeated(rows: Tensor) -> Tensor:
    """Share of the samples that equal an earlier one of the batch, in [0, 1): 0-d.

    Args:
        rows: row fingerprints (B,).
    """
    ordered = rows.sort().values
    return (ordered[1:] == ordered[:-1]).sum().double() / len(rows)


def copy_floor(rows: Tensor) -> Tensor:
    """Least contrastive loss of a batch in which each copy has a partner of its own, in nats: 0-d.

    sum (m / B) ln m over the groups of m equal samples: m copies cannot be told apart, so that each partner has at most
    the probability 1 / m. 64 samples of 8 captions, 8 times each, have ln 8 = 2.08.

    Args:
        rows: row fingerprints (B,).

    Example:
        >>> copy_floor(torch.tensor([7, 7, 7, 7, 1, 2, 3, 4]))
        tensor(0.6931, dtype=torch.float64)
    """
    ordered = rows.sort().values
    count = torch.searchsorted(ordered, rows, right=True) - torch.searchsorted(ordered, rows)
    return count.double().log().mean()


def padding(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Share of padding among the tokens, and share of texts without any, which may have been cut: 0-d each.

    Padding is the run of one and the same token at one end of a text, the longer one, if it is longer than one.
    NaN for integers that are no tokens (``are_tokens``).

    Args:
        tokens: (B, L) integers.
    """
    ends = (tokens == tokens[:, -1:]).flip(-1), tokens == tokens[:, :1]
    same = torch.stack([end.cumprod(-1).sum(-1) for end in ends]).amax(0)
    run = torch.where(same > 1, same, 0).double()
    unknown = torch.where(are_tokens(tokens), 0.0, torch.nan).double()
    return run.mean() / tokens.shape[1] + unknown, (run == 0).double().mean() + unknown


def are_tokens(tokens: Tensor) -> Tensor:
    """Return whether integers can be tokens: masks are 0 and 1 only, labels may be below 0, as no token is: 0-d."""
    return (tokens >= 0).all() & (tokens > 1).any()


def cut_texts(tokens: Tensor) -> Tensor:
    """Share of texts that fill the context and do not end as texts with padding end, with the token of their end: 0-d.

    The end of a text is its last token that is not padding. NaN where not all texts with padding end alike, so that
    there is no token of the end (sentences end in many words), where fewer than four tell, and for no tokens.

    Args:
        tokens: (B, L) integers, padded at the right.
    """
    run = (tokens == tokens[:, -1:]).flip(-1).cumprod(-1).sum(-1)
    padded = run > 1  # a run of one is no padding
    last = torch.where(padded, tokens.shape[1] - 1 - run, tokens.shape[1] - 1).clamp(min=0)
    ends = tokens.gather(1, last.unsqueeze(1)).squeeze(1)
    # The mode among texts with padding; the others get numbers of their own, which are all different.
    own = -1 - torch.arange(len(tokens), device=tokens.device, dtype=tokens.dtype)
    usual = torch.where(padded, ends, own).mode().values
    alike = ((ends == usual) & padded).sum()
    well_ended = (ends == usual) | (tokens[:, -2:-1] == usual).any(-1)  # a single padding may follow the end
    share = (~padded & ~well_ended).double().mean()
    return torch.where((alike == padded.sum()) & (alike >= 4) & are_tokens(tokens), share, torch.nan)
