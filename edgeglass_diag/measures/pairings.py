"""Which fixed pairing of a batch is most alike: the labelled one, or another."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from edgeglass_diag.measures.contrast import valid_logits

NEIGHBOURS, REVERSED = -1, -2
"""Numbers of the pairings 0 with 1, 2 with 3 and so on, and first with last; those of 0 and more are shifts."""


class PairingStatistics(NamedTuple):
    """0-d tensors; excesses are over the mean of a row, in standard deviations within the row, averaged over rows.

    Attributes:
        labelled: excess of the labelled pairs.
        other: excess of the most alike other fixed pairing.
        advantage: paired t statistic over the rows of that pairing against the labelled one.
        number: which it is.
    """

    labelled: Tensor
    other: Tensor
    advantage: Tensor
    number: Tensor


def pairing_statistics(similarities: Tensor, labelled: Tensor, *, without_self: bool = False) -> PairingStatistics:
    """Compare the labelled pairing of a batch with all shifts of it, with neighbours, and with the batch reversed.

    d_i = z_i,other(i) - z_i,labelled(i) for rows z of mean 0 and standard deviation 1; t = mean d sqrt(N) / std d.
    A pairing that has a masked entry, or agrees with the labelled one in half of the rows, is no other.

    Args:
        similarities: (N, C), N <= C or, where ``without_self``, C = N - 1.
        labelled: (N,) column of each row's partner.
        without_self: whether the entry of each row with itself was taken out of a square.
    """
    valid = valid_logits(similarities)
    count = valid.sum(-1, keepdim=True)
    mean = torch.where(valid, similarities, 0.0).sum(-1, keepdim=True) / count
    centred = torch.where(valid, similarities - mean, 0.0)
    rows = centred / (centred.square().sum(-1, keepdim=True) / count).sqrt()
    columns, numbers = _pairings(*similarities.shape, without_self=without_self, device=similarities.device)
    others, own = rows.gather(1, columns), rows.gather(1, labelled.unsqueeze(1))
    same = (columns == labelled.unsqueeze(1)).double().mean(0) >= 0.5
    possible = valid.gather(1, columns).all(0) & ~same
    excess = torch.where(possible, others.mean(0), -math.inf)
    best = excess.argmax().reshape(1)
    difference = (others - own).index_select(1, best).squeeze(1)
    advantage = difference.mean() * math.sqrt(len(rows)) / difference.std()
    return PairingStatistics(own.mean(), excess[best].squeeze(), advantage, numbers[best].squeeze())


@lru_cache(maxsize=4)
def _pairings(rows: int, columns: int, *, without_self: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the partner of each row by each pairing, (N, K) columns, and the numbers of the pairings, (K,)."""
    row = torch.arange(rows, device=device).unsqueeze(1)
    width = columns + without_self
    shifts = torch.arange(int(without_self), width, device=device)
    neighbours, turned = (row ^ 1).clamp(max=rows - 1), rows - 1 - row
    partners = torch.cat([(row + shifts) % width, neighbours, turned], dim=1)
    if without_self:
        partners = (partners - (partners > row).long()).clamp(max=columns - 1)
    return partners, torch.cat([shifts, torch.arange(NEIGHBOURS, REVERSED - 1, -1, device=device)])
