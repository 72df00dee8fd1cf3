"""Statistics of a module's output, from evenly strided samples of it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

SAMPLED = 2**14
"""Entries of which means are taken at most: the relative standard error of an rms of Gaussian values is then 0.6 %."""


EXTREMES = 2**20
"""Entries among which the largest and what is not finite are looked for."""


class ActivationStatistics(NamedTuple):
    """0-d tensors on the device of the activation.

    Attributes:
        rms: root of the mean square.
        absmax: largest magnitude, NaN where there is a NaN; over at most ``EXTREMES`` entries.
        zeros: share of zeros, in [0, 1].
        nonfinite: number of NaN and infinite entries, extrapolated; at least 1 if ``absmax`` is not finite.
        sample_signal: share of the energy that depends on the sample, in [0, 1]; None without a batch axis.
    """

    rms: Tensor
    absmax: Tensor
    zeros: Tensor
    nonfinite: Tensor
    sample_signal: Tensor | None


def activation_statistics(values: Tensor, batch_axis: int | None) -> ActivationStatistics:
    """Statistics of an activation, of at most ``SAMPLED`` entries where a mean is taken.

    The sample is an even stride over the positions; every sample of the batch is kept as long as that is possible.

    Args:
        values: any floating tensor that is not empty.
        batch_axis: axis of the samples, of at least two; None where unknown.
    """
    low, high = torch.aminmax(subset(values, batch_axis, EXTREMES))
    absmax = torch.maximum(low.abs(), high.abs())
    absmax = absmax if absmax.dtype == torch.float64 else absmax.float()
    some = subset(values, batch_axis)
    part = some if some.dtype in (torch.float32, torch.float64) else some.float()
    # Divided by the largest, squares of large but finite activations do not overflow.
    unit = torch.where((absmax > 0) & torch.isfinite(absmax), absmax, torch.ones_like(absmax))
    scaled = part / unit
    if batch_axis is None:
        energy, signal = scaled.square().mean(), None
    else:
        mean = scaled.mean(batch_axis, keepdim=True)  # torch.var_mean over a leading axis is many times slower
        spread = (scaled - mean).square().mean()
        energy = spread + mean.square().mean()
        signal = torch.where(energy == 0, energy, spread / energy)
    share = (~torch.isfinite(part)).float().mean()
    finite = torch.isfinite(absmax)
    count = (share * values.numel()).round().clamp(min=1)
    return ActivationStatistics(
        rms=energy.sqrt() * unit,
        absmax=absmax,
        zeros=(part == 0).float().mean(),
        nonfinite=torch.where(finite, torch.zeros_like(count), count),
        sample_signal=signal,
    )


def subset(values: Tensor, keep: int | None = None, limit: int = SAMPLED) -> Tensor:
    """A view of at most about ``limit`` entries, evenly strided.

    Positions are thinned before channels, which may differ in size by orders of magnitude; samples last of all.

    Args:
        values: (B, L, D), (B, C, H, W) or any other shape.
        keep: axis that is thinned last and never below two entries.
        limit: number of entries wanted.
    """
    axes = [axis for axis in range(values.dim()) if axis != keep]
    axes = axes[::-1] if values.dim() > 3 else axes
    for axis in axes if keep is None else [*axes, keep]:
        excess = values.numel() / limit
        if excess <= 1:
            break
        size = values.shape[axis]
        step = math.ceil(size / max(2 if axis == keep else 1, math.floor(size / excess)))
        # An odd stride does not fall in step with heads, rows of patches and other powers of two.
        step += step % 2 == 0 and step < size - 1
        values = values[(slice(None),) * axis + (slice(None, None, step),)]
    return values
