"""Predict attention logits, their entropy and the loss at initialisation from shapes alone.

Assumptions that all of them share: the entries of a weight are independent of each other, of the other weights and of
the inputs, with mean zero and one standard deviation. (An orthogonal weight is close to that: its entries are
uncorrelated.) Each formula says what it assumes beyond. They are means over draws of the weights: one draw of a head of
width d scatters about them by some 1 / sqrt(d).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

_DRAWN = 2**16
_MAX_KEYS = 4096


@dataclass(frozen=True, slots=True)
class Side:
    """What goes into the query or the key projection of an attention.

    Attributes:
        energy: mean over positions of |x|^2; behind a LayerNorm with gain 1 it is the width D.
        spread: trace of the covariance of x over positions: energy less the energy of their mean. It is at most the
            energy, and all of it where the positions have nothing in common.
        weight_std: standard deviation of the projection's entries.
        bias_std: root mean square of its bias.
    """

    energy: float
    spread: float
    weight_std: float
    bias_std: float = 0.0


def logit_std(query: Side, key: Side, *, head_width: int, scale: float | None = None) -> float:
    """Return the std over the keys of the logits scale x (Wq x) . (Wk y), root of the mean square over queries.

    s^2 = scale^2 d (sq^2 E|x|^2 + bq^2) sk^2 tr Cov(y)

    With scale = 1 / sqrt(d) and both sides behind a LayerNorm this is s = sq sk D sqrt(t), t the share of the tokens'
    energy in which they differ: sqrt(t) for Xavier, sqrt(t) / 3 for torch's own nn.Linear. Without a norm the queries'
    size multiplies it: latents of std 0.02 make it fifty times smaller. A learned query that meets the tokens without
    a projection counts as one with weights of std 1 / sqrt(d), and so do tokens that meet it so.

    Assumes queries independent of keys (in self-attention nearly so: the diagonal is one of S), no mask. The keys'
    bias shifts all logits of a query alike and cancels.

    Args:
        query: queries' side.
        key: keys' side.
        head_width: d, entries of one head.
        scale: factor on the product; 1 / sqrt(d) where None.
    """
    factor = 1 / math.sqrt(head_width) if scale is None else scale
    per_entry = query.weight_std**2 * query.energy + query.bias_std**2
    return abs(factor) * math.sqrt(head_width * per_entry * key.weight_std**2 * key.spread)


def entropy(std: float, keys: int) -> float:
    """Return the softmax entropy of Gaussian logits divided by ln(keys), in [0, 1]; 0 for one key.

    For small std it is 1 - std^2 / (2 ln n); here the mean over 2^16 / n fixed draws, which also holds for large ones.
    Assumes logits that are Gaussian over the keys and equally spread for all queries; beyond 4096 keys the entropy's
    defect is scaled by ln n.

    Args:
        std: standard deviation of the logits over the keys.
        keys: number n of keys.

    Example:
        >>> round(entropy(1.0, 577), 2), round(entropy(3.0, 577), 2)
        (0.92, 0.48)
    """
    if keys < 2:
        return 0.0
    counted = min(keys, _MAX_KEYS)
    logits = std * torch.randn(
        _DRAWN // counted, counted, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    found = float(torch.special.entr(logits.softmax(-1)).sum(-1).mean())
    return min(1.0, 1 - (math.log(counted) - found) / math.log(keys))


def unrelated_loss(std: float, candidates: int) -> float:
    """Return the mean cross-entropy in nats of B Gaussian logits of one std, for any label.

    E[ln sum_j e^(s z_j) - s z_1]: ln B for small s, about ln B + s^2 / 2 up to s of 1, more slowly from there on. It
    is what a contrastive loss of embeddings costs that differ from each other and do not know of each other; the
    mean over 2^16 / B fixed draws.

    Args:
        std: standard deviation of the logits within a row, as of a population of independent ones.
        candidates: B.

    Example:
        >>> round(unrelated_loss(0.0, 128), 3), round(unrelated_loss(1.0, 128), 2)
        (4.852, 5.35)
    """
    counted = min(candidates, _MAX_KEYS)
    logits = std * torch.randn(
        _DRAWN // counted, counted, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    excess = float((logits.logsumexp(-1) - logits.mean(-1)).mean()) - math.log(counted)
    return math.log(candidates) + excess
