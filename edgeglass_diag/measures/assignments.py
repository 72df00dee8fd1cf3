"""Assignments of samples to prototypes, as DINO and SwAV make them. All results are 0-d tensors on their device."""

from __future__ import annotations

import torch
from torch import Tensor


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


def _entropy(distribution: Tensor) -> Tensor:
    entropy: Tensor = torch.special.entr(distribution).sum(-1)
    return entropy
