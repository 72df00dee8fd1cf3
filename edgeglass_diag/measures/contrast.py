"""Statistics of a loss's logits and of the two sets of embeddings that they come from."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from edgeglass_diag.measures.logits import EXCLUDED

ROWS_BUDGET = 2**20
"""Logits that are looked at in one window; of more than that evenly strided rows are taken."""


class LogitStatistics(NamedTuple):
    """0-d tensors.

    Attributes:
        logit_std: root of the mean over rows of the variance within the row.
        logit_max: largest magnitude.
        is_probability: 1 where every row is a distribution already, as after a softmax; 0 else.
    """

    logit_std: Tensor
    logit_max: Tensor
    is_probability: Tensor


def some_rows(values: Tensor) -> Tensor:
    """A view of evenly strided rows of (N, C), of at most ``ROWS_BUDGET`` entries."""
    keep = max(1, ROWS_BUDGET // max(1, values.shape[-1]))
    return values[:: max(1, math.ceil(values.shape[0] / keep))]


def valid_logits(logits: Tensor) -> Tensor:
    """Which logits of (N, C) take part: not those masked out, a thousand or more below the largest of their row.

    exp(-745) is zero in float64 already. Where the largest is NaN or infinite, all do.
    """
    bound = logits.amax(-1, keepdim=True) + EXCLUDED
    return ~(logits <= bound) | (bound == torch.inf)


def logit_statistics(logits: Tensor, valid: Tensor) -> LogitStatistics:
    """Statistics of the valid entries of the rows of logits (N, C)."""
    count = valid.sum(-1)
    kept = torch.where(valid, logits, 0.0)
    deviation = torch.where(valid, logits - (kept.sum(-1) / count).unsqueeze(-1), 0.0)
    low, high = torch.aminmax(kept)
    return LogitStatistics(
        logit_std=(deviation.square().sum(-1) / count).mean().sqrt(),
        logit_max=torch.maximum(low.abs(), high.abs()),
        is_probability=((low >= 0) & ((logits.sum(-1) - 1).abs() < 1e-3).all()).float(),
    )


def accuracy(logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
    """Share of the counted rows whose largest logit is the target's, in [0, 1]; NaN where no row counts.

    Args:
        logits: (N, C).
        target: (N,) class indices.
        counted: (N,) bool.
    """
    right = (logits.argmax(-1) == target) & counted
    return right.sum().double() / counted.sum()


def logit_scale(logits: Tensor, cosines: Tensor) -> Tensor:
    """Factor s of logits = s x cosines + bias, of either orientation: the slope of the regression on the cosines.

    Rounding of the logits, as in bfloat16, leaves a slope where it is but enlarges their spread. Where the intercept is
    within three standard errors of 0 it is the ratio of the root mean squares, which is exact without a bias however
    little the cosines vary.

    Args:
        logits: (B, N) or (N, B).
        cosines: (B, N).
    """
    means = logits.mean(), cosines.mean()
    across, along = cosines - means[1], logits - means[0]
    spread = across.square().mean()
    orientations = [along] if along.shape == across.shape else [along.mT]
    if along.shape[0] == along.shape[1]:
        orientations = [along, along.mT]
    slope = torch.stack([(one * across).mean() for one in orientations]).abs().amax() / spread
    residual = (along.square().mean() - slope.square() * spread).clamp_min(0)
    error = (residual / (spread * logits.numel())).sqrt()
    ratio = (logits.square().mean() / cosines.square().mean()).sqrt()
    has_bias = (means[0].abs() - slope * means[1].abs()).abs() > 3 * error * means[1].abs() + 1e-5 * means[0].abs()
    return torch.where(has_bias & (spread > 0), slope, ratio)


def scale_of_products(logits: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Factor of the cosines in logits = t x left right^T + bias: t times the lengths, by their root mean square.

    The slope is taken on the products themselves: lengths that differ within a side change the slope on the cosines.

    Args:
        logits: (B, N) or (N, B).
        left: (B, D).
        right: (N, D).
    """
    table = cosines(left, right)
    products = table * left.norm(dim=-1)[:, None] * right.norm(dim=-1)
    length: Tensor = (products.square().mean() / table.square().mean()).sqrt()
    return logit_scale(logits, products) * length


def cosines(left: Tensor, right: Tensor) -> Tensor:
    """Cosines of all rows of (B, D) with all rows of (N, D): (B, N)."""
    return normalize(left, dim=-1) @ normalize(right, dim=-1).mT
