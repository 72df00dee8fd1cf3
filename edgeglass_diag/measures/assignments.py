"""Assignments of samples to prototypes, as DINO and SwAV make them. All results are 0-d tensors on their device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_LEAST = 1e-30
"""Least probability: that of what float32 gives as 0 or has rounded to it."""


def prototypes_in_use(assignments: Tensor) -> Tensor:
    """Effective number of prototypes in use, exp of the entropy of the mean assignment: in [1, K].

    Known as the perplexity of a codebook; Neural Discrete Representation Learning, https://arxiv.org/abs/1711.00937.

    Args:
        assignments: (B, K), each row a distribution.

    >>> prototypes_in_use(torch.tensor([[1.0, 0.0], [0.0, 1.0]])).item()
    2.0
    """
    return _entropy(assignments.double().mean(0)).exp()


def assignment_information(assignments: Tensor) -> Tensor:
    """What an assignment tells of its sample: entropy of the mean less mean of the entropies, in [0, ln K] nats.

    0 where all samples are assigned alike: to one prototype, or to all of them evenly. These are the two collapses of
    Emerging Properties in Self-Supervised Vision Transformers (DINO), https://arxiv.org/abs/2104.14294.

    Args:
        assignments: (B, K), each row a distribution.

    >>> assignment_information(torch.full((4, 2), 0.5)).item()
    0.0
    """
    rows = assignments.double()
    return (_entropy(rows.mean(0)) - _entropy(rows).mean()).clamp(min=0)


def predicted_information(predictions: Tensor, targets: Tensor) -> Tensor:
    """By how much predictions do better than one guess for all samples would, in nats: level - cross-entropy, 0-d.

    The level is the least cross-entropy of a constant, the entropy of the mean target, which N rows give
    (K - 1) / (2 N) too low in the mean (Miller 1955, Note on the bias of information estimates), and at most ln K.

    Args:
        predictions: (N, K), each row a distribution.
        targets: (N, K), each row a distribution.

    >>> rows = torch.eye(2).repeat(64, 1)
    >>> round(predicted_information(rows, rows).item(), 3)
    0.693
    >>> round(predicted_information(torch.full_like(rows, 0.5), rows).item(), 3)
    0.0
    """
    count, classes = targets.shape
    known = targets.double()
    level = (_entropy(known.mean(0)) + (classes - 1) / (2 * count)).clamp(max=math.log(classes))
    logs = predictions.double().clamp(min=_LEAST).log()
    return level + (known * logs).sum(-1).mean()


def _entropy(distribution: Tensor) -> Tensor:
    entropy: Tensor = torch.special.entr(distribution).sum(-1)
    return entropy
