"""How far the running statistics of a BatchNorm are from those of a batch."""

from __future__ import annotations

import torch
from torch import Tensor


def batch_statistic(before: Tensor, after: Tensor, momentum: float | Tensor) -> Tensor:
    """Return the statistic of a batch that moved a running one, r' = (1 - m) r + m b, so b = (r' - (1 - m) r) / m.

    Args:
        before: (C,) the running statistic before the batch.
        after: (C,) after it.
        momentum: m, in (0, 1]; 1 / number of batches where the average is cumulative.

    Returns:
        (C,) in float32 at least.
    """
    wide = torch.promote_types(before.dtype, torch.float32)
    return (after.to(wide) - (1 - momentum) * before.to(wide)) / momentum


def mismatch(mean: Tensor, variance: Tensor, running_mean: Tensor, running_variance: Tensor, eps: float) -> Tensor:
    """Return how much a batch normalised by running statistics differs from one normalised by its own: 0-d.

    With z the batch normalised by its own statistics, mean 0 and variance 1, the other is a z + d with
    a = sqrt(v / r) and d = (m - n) / sqrt(r): the mean square of the difference is (a - 1)^2 + d^2, here averaged over
    the channels. 0 where they agree; 1 where evaluation differs by as much as the signal itself varies.

    Args:
        mean: (C,) m, of the batch.
        variance: (C,) v, of the batch.
        running_mean: (C,) n.
        running_variance: (C,) r.
        eps: added to both variances.

    Example:
        >>> ones = torch.ones(4)
        >>> mismatch(ones, 4 * ones, 0 * ones, ones, 0.0).item()  # a = 2, d = 1
        2.0
    """
    own, kept = variance.clamp(min=0) + eps, running_variance + eps
    return ((own.sqrt() / kept.sqrt() - 1).square() + (mean - running_mean).square() / kept).mean()
