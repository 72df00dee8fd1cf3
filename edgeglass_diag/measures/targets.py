"""Whether outputs can reach their targets, and what their errors tell. All results are 0-d tensors on their device."""

from __future__ import annotations

import torch
from torch import Tensor


def range_excess(targets: Tensor, low: float, high: float) -> Tensor:
    """Least mean squared error that outputs within [low, high] leave to targets, over the targets' variance.

    No model with such outputs has an R^2 above 1 less this. 0 for targets that all can be reached.

    Args:
        targets: (B, D).
        low: least output.
        high: greatest output.

    >>> range_excess(torch.tensor([[-1.0], [1.0]]), 0.0, 1.0).item()
    0.5
    """
    beyond = targets - targets.clamp(low, high)
    return _over_variance(beyond.square().sum(-1).mean(), targets)


def unit_excess(targets: Tensor) -> Tensor:
    """Least mean squared distance of rows of length 1 to targets, mean (|t| - 1)^2, over the targets' variance.

    Args:
        targets: (B, D).

    >>> unit_excess(torch.tensor([[1.0, 0.0], [0.0, -1.0]])).item()
    0.0
    """
    return _over_variance((targets.norm(dim=-1) - 1).square().mean(), targets)


def _over_variance(error: Tensor, targets: Tensor) -> Tensor:
    variance = targets.var(0, correction=0).sum()
    return torch.where(error == 0, torch.zeros_like(error), error / variance)
