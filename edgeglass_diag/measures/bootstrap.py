"""How far a mean over queries would move with other images: percentile bootstrap over clusters."""

from __future__ import annotations

import torch
from torch import Tensor


def bootstrap_interval(
    values: Tensor, clusters: Tensor, *, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> Tensor:
    """Percentile interval of the means of ``values`` when whole clusters are drawn with replacement, (2, S).

    The captions of an image are drawn together, since they succeed and fail together. The gallery stays as it is:
    the interval is of the queries, for this gallery.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13 (percentile interval); Field &
    Welsh, Bootstrapping clustered data, https://doi.org/10.1111/j.1467-9868.2007.00593.x.

    Args:
        values: (Q, S), S statistics of each query; all S are drawn alike, so that intervals can be compared.
        clusters: (Q,) cluster of each query, any integers.
        resamples: number of draws.
        seed: of the draws, which are made on the host and the same on every device.
        level: share of the draws inside of the interval, in (0, 1).

    Raises:
        ValueError: for no queries, no resamples or a level outside of (0, 1).
    """
    if not len(values) or resamples < 1 or not 0 < level < 1:
        got = f"{len(values)} queries, {resamples} resamples, level {level}"
        raise ValueError(f"a bootstrap needs queries, resamples and a level in (0, 1), got {got}")
    index = torch.unique(clusters.cpu(), return_inverse=True)[1]
    size = int(index.max()) + 1
    table = torch.cat([values.cpu().double(), torch.ones(len(values), 1, dtype=torch.float64)], dim=1)
    sums = torch.zeros(size, table.shape[1], dtype=torch.float64).index_add_(0, index, table)
    generator = torch.Generator().manual_seed(seed)
    draws = [
        torch.bincount(torch.randint(size, (size,), generator=generator), minlength=size).double() @ sums
        for _ in range(resamples)
    ]
    totals = torch.stack(draws)
    tail = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    return torch.quantile(totals[:, :-1] / totals[:, -1:], tail, dim=0)
