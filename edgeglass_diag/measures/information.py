"""How much of what a pair's score tells comes from the sample at all: pairs against non-pairs, and its controls."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

TIE = 2.0**-20
"""Cosines that are closer than this are ties, as in retrieval."""


def information(image: Tensor, text: Tensor) -> Tensor:
    """Information of each pair's score, (N,) in [-1, 1]: how surely the pair beats a non-pair.

    ``D_i = mean over j != i of (sign(s_ii - s_ij) + sign(s_ii - s_ji)) / 2`` with cosines s, where ties count 0:
    Somers' D, that is 2 AUC - 1. Its mean is 1 where every pair beats every non-pair, and 0 for pairs that were
    shuffled and wherever one side is constant, whatever the cosines themselves are.

    Source: Somers, A new asymmetric measure of association for ordinal variables, https://doi.org/10.2307/2090408.

    Args:
        image: (N, D); a row of zeros has the cosine 0 with everything.
        text: (N, D), row by row the pair.

    Raises:
        ValueError: for sides of unequal shape, fewer than two pairs, or values that are not finite.

    Example:
        >>> information(torch.eye(4), torch.eye(4)).mean(), information(torch.ones(4, 4), torch.eye(4)).mean()
        (tensor(1.), tensor(0.))
    """
    if image.shape != text.shape or image.dim() != 2 or len(image) < 2:
        got = f"{tuple(image.shape)} and {tuple(text.shape)}"
        raise ValueError(f"image and text: expected two of shape (N, D) with N > 1, got {got}")
    if not (torch.isfinite(image).all() and torch.isfinite(text).all()):
        raise ValueError("image and text: expected finite embeddings, got NaN or infinities")
    cosines = normalize(image, dim=-1) @ normalize(text, dim=-1).T
    own = cosines.diagonal()
    wins = [_sign(own[:, None] - others).sum(1) for others in (cosines, cosines.T)]
    return (wins[0] + wins[1]) / (2 * (len(image) - 1))


def shuffled(count: int, *, seed: int = 0) -> Tensor:
    """An order of ``count`` in which nothing stays in its place: a rotation of a random order.

    Raises:
        ValueError: for fewer than two.
    """
    if count < 2:
        raise ValueError(f"count: expected at least 2, got {count}")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    moved = torch.empty_like(order)
    moved[order] = order.roll(1)
    return moved


def _sign(differences: Tensor) -> Tensor:
    return torch.sign(differences).masked_fill(differences.abs() <= TIE, 0)
