"""What a contrastive loss is when nothing is known, and what it cannot be; in nats."""

from __future__ import annotations

import math


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


def _softplus(x: float) -> float:
    return x + math.log1p(math.exp(-x)) if x > 0 else math.log1p(math.exp(x))
