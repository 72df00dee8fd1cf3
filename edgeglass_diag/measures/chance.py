"""What a contrastive loss and a recall are when nothing is known, and what they cannot be; in nats."""

from __future__ import annotations

import math
from collections.abc import Sequence


def chance_loss(candidates: int) -> float:
    """Cross-entropy of a uniform softmax over ``candidates`` classes: ln B.

    Raises:
        ValueError: for fewer than one candidate.

    Example:
        >>> round(chance_loss(128), 4)
        4.852
    """
    if candidates < 1:
        raise ValueError(f"candidates must be at least 1, got {candidates}")
    return math.log(candidates)


def mean_chance_loss(batch_sizes: Sequence[int]) -> float:
    """Mean over batches of ln B_k: what an epoch with a short last batch logs at chance.

    Example:
        >>> round(mean_chance_loss([128] * 23 + [40]), 4)
        4.8036
    """
    if not batch_sizes:
        raise ValueError("batch_sizes must not be empty")
    return sum(chance_loss(size) for size in batch_sizes) / len(batch_sizes)


def binary_entropy(share: float) -> float:
    """Entropy -p ln p - (1 - p) ln(1 - p) of a yes or no: the loss of a sigmoid that knows only the share of yes.

    Times B it is the loss per row of SigLIP (https://arxiv.org/abs/2303.15343) where nothing is known,
    ln B + (B-1) ln(B / (B-1)).

    Args:
        share: p, in (0, 1).

    Example:
        >>> round(128 * binary_entropy(1 / 128), 3)
        5.848
    """
    if not 0 < share < 1:
        raise ValueError(f"share must be in (0, 1), got {share}")
    return -share * math.log(share) - (1 - share) * math.log1p(-share)


def contrastive_floor(scale: float, candidates: int) -> float:
    """Least loss with cosines as logits: ln(1 + (B-1) exp(-s B / (B-1))).

    Reached when the B pairs form a regular simplex: positives at cosine 1, all others at -1 / (B-1).

    Args:
        scale: logit scale s, >= 0.
        candidates: B, at least 2.

    Example:
        >>> round(contrastive_floor(1.0, 128), 3)
        3.858
    """
    if candidates < 2:
        raise ValueError(f"candidates must be at least 2, got {candidates}")
    exponent = math.log(candidates - 1) - scale * candidates / (candidates - 1)
    return _softplus(exponent)


def contrastive_ceiling(scale: float, candidates: int) -> float:
    """Largest loss with cosines as logits: ln(1 + (B-1) exp(2 s)), positives at -1 and the others at 1.

    Example:
        >>> round(contrastive_ceiling(0.0, 128), 3)
        4.852
    """
    if candidates < 2:
        raise ValueError(f"candidates must be at least 2, got {candidates}")
    return _softplus(math.log(candidates - 1) + 2 * scale)


def wrong_answers_floor(accuracy: float) -> float:
    """Least mean loss at an in-batch accuracy: a wrong answer has p <= 1/2, so (1 - accuracy) ln 2.

    Example:
        >>> round(wrong_answers_floor(0.0), 4)
        0.6931
    """
    if not 0 <= accuracy <= 1:
        raise ValueError(f"accuracy must be in [0, 1], got {accuracy}")
    return (1 - accuracy) * math.log(2)


def chance_recall(k: int, gallery: int) -> float:
    """Recall@K of a random ranking of N items: min(K / N, 1).

    Example:
        >>> chance_recall(5, 1000)
        0.005
    """
    if k < 1 or gallery < 1:
        raise ValueError(f"k and gallery must be at least 1, got {k} and {gallery}")
    return min(k / gallery, 1.0)


def _softplus(x: float) -> float:
    return x + math.log1p(math.exp(-x)) if x > 0 else math.log1p(math.exp(x))
