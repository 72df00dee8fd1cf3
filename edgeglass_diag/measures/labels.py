"""How often each label comes, and what a model that knows no more than that can do."""

from __future__ import annotations

import torch
from torch import Tensor


def label_shares(labels: Tensor, counted: Tensor, classes: int, weight: Tensor | None = None) -> Tensor:
    """Share of each class among the labels that count: (C,) in float64, NaN where none counts.

    Args:
        labels: (N,) class indices.
        counted: (N,) whether a label counts; those of others may be out of range.
        classes: C.
        weight: (C,) how much a label of each class counts; 1 where None.

    Example:
        >>> label_shares(torch.tensor([0, 1, 1, -100]), torch.tensor([True, True, True, False]), 2)
        tensor([0.3333, 0.6667], dtype=torch.float64)
    """
    own = torch.where(counted, labels, 0)
    share = counted.double() if weight is None else counted.double() * weight.double()[own]
    found = torch.zeros(classes, dtype=torch.float64, device=labels.device).index_add_(0, own, share)
    return found / found.sum()


def entropy_of_shares(shares: Tensor, smoothing: float = 0.0) -> Tensor:
    """Least cross-entropy of a model that gives every sample the same distribution, in nats: 0-d.

    H((1 - e) q + e / C) for the shares q of C classes and label smoothing e: 0.6365 for one match among three.

    Args:
        shares: (C,).
        smoothing: e, in [0, 1].
    """
    entropy: Tensor = torch.special.entr(shares * (1 - smoothing) + smoothing / len(shares))
    return entropy.sum()


def binary_entropy(share: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """Least binary cross-entropy of a model that gives every sample the same probability, in nats: 0-d.

    With q positives that count w times: w q ln((w q + 1 - q) / (w q)) + (1 - q) ln((w q + 1 - q) / (1 - q)).

    Args:
        share: of positives q, in [0, 1].
        weight: w.

    Example:
        >>> binary_entropy(torch.tensor(0.5))
        tensor(0.6931)
    """
    positive, negative = share * weight, 1 - share
    whole = positive + negative
    entropy: Tensor = torch.special.entr(positive) + torch.special.entr(negative) - torch.special.entr(whole)
    return entropy


def excess_mass(logs: Tensor) -> Tensor:
    """How far the rows, or the columns, of a matrix are from logarithms of probabilities, in nats: 0-d.

    The smaller of the means of |ln sum exp| over rows and over columns: 0 for log-probabilities either way.

    Args:
        logs: (N, C).
    """
    wide = logs.double()
    return torch.minimum(wide.logsumexp(1).abs().mean(), wide.logsumexp(0).abs().mean())


def targets_of_gradient(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return the targets of a cross-entropy by the gradient that reaches its log-probabilities, and each row's weight.

    sum_n w_n sum_c t_nc ln p_nc has the gradient w_n t_nc: a row's targets are its share of the row's sum, (N, C), and
    the sums are the weights (N,). All targets are NaN where entries have both signs: that is no cross-entropy. Those of
    a row that does not count are 0.

    Args:
        gradient: (N, C).

    Example:
        >>> targets_of_gradient(torch.tensor([[0.0, -0.5], [0.0, 0.0]]))
        (tensor([[0., 1.],
                [0., 0.]]), tensor([0.5000, 0.0000]))
    """
    values = gradient if gradient.dtype == torch.float64 else gradient.float()
    low, high = torch.aminmax(values)
    weights = values.abs().sum(-1)
    shares = values.abs() / weights.clamp_min(torch.finfo(values.dtype).tiny).unsqueeze(-1)
    return torch.where((low >= 0) | (high <= 0), shares, torch.nan), weights
