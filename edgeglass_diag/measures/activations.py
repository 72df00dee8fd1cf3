"""Statistics of a module's output, from evenly strided samples of it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.linalg import vector_norm

SAMPLED = 2**14
"""Entries of which means are taken at most: the relative standard error of an rms of Gaussian values is then 0.6 %."""


_EXTREMES_ON_CPU = 2**17
"""Entries among which the largest is looked for: reading memory is what that costs, 20 microseconds here."""
_EXTREMES_ELSEWHERE = 2**22


class ActivationSample(NamedTuple):
    """What is kept of one activation until the end of its window.

    Attributes:
        part: at most about ``SAMPLED`` entries in float32 or wider, a copy, (samples, entries); one row where no
            batch axis is known.
        ends: least and largest entry, 0-d each, NaN where there is a NaN; they look at more entries than ``part``.
            None where that has all of them.
        size: number of entries of the activation.
        batched: whether the rows are samples.
    """

    part: Tensor
    ends: tuple[Tensor, Tensor] | None
    size: int
    batched: bool

    @property
    def kind(self) -> Hashable:
        """What samples must have in common to be reduced together."""
        dtype = None if self.ends is None else self.ends[0].dtype
        return self.part.shape, self.part.dtype, self.part.device, dtype, self.size, self.batched


class ActivationStatistics(NamedTuple):
    """One value for each activation, (M,), on their device.

    Attributes:
        rms: root of the mean square.
        absmax: largest magnitude, NaN where there is a NaN; of all or many entries.
        zeros: share of zeros, in [0, 1].
        nonfinite: number of NaN and infinite entries, extrapolated; at least 1 if ``absmax`` is not finite.
        sample_signal: share of the energy that depends on the sample, in [0, 1]; None without a batch axis.
    """

    rms: Tensor
    absmax: Tensor
    zeros: Tensor
    nonfinite: Tensor
    sample_signal: Tensor | None


def sample_activation(values: Tensor, batch_axis: int | None) -> ActivationSample:
    """A sample of an activation: an even stride over the positions, with every sample of the batch if possible.

    Args:
        values: any floating tensor that is not empty.
        batch_axis: axis of the samples, of at least two; None where unknown.
    """
    size, ends = values.numel(), None
    some = values
    if size <= SAMPLED and batch_axis in (None, 0) and values.dtype in (torch.float32, torch.float64):
        # What the lines below come to for a small one, in two calls of torch: a small program waits for each.
        return ActivationSample(
            values.reshape(1 if batch_axis is None else values.shape[0], -1).clone(), None, size, batch_axis is not None
        )
    if size > SAMPLED:
        many = subset(values, batch_axis, _EXTREMES_ON_CPU if values.device.type == "cpu" else _EXTREMES_ELSEWHERE)
        ends = many.amin(), many.amax()  # aminmax would copy them first
        some = subset(values, batch_axis)
    wide = some.dtype if some.dtype in (torch.float32, torch.float64) else torch.float32
    rows = some[None] if batch_axis is None else some.movedim(batch_axis, 0)
    part = rows.to(wide, copy=True).reshape(len(rows), -1)
    return ActivationSample(part, ends, size, batch_axis is not None)


def activation_statistics(samples: Sequence[ActivationSample]) -> ActivationStatistics:
    """Statistics of activations whose samples have one shape and dtype, all at once.

    Args:
        samples: M of them, at least one, alike in ``kind``.
    """
    part = torch.stack([sample.part for sample in samples])
    ends = [end for sample in samples for end in sample.ends or ()]
    largest = torch.stack(ends).abs().view(-1, 2).amax(1) if ends else part.abs().amax((1, 2))
    absmax = largest.to(part.dtype)
    entries = part[0].numel()
    if not ends and part.is_cpu and bool(torch.isfinite(absmax).all()):
        zeros = 1 - part.sign().abs_().sum((1, 2)) / entries  # sums are made with all lanes, norms of order 0 are not
        nonfinite = torch.zeros_like(absmax)
    else:
        zeros = 1 - vector_norm(part, 0, (1, 2)) / entries
        broken = vector_norm(part * 0, 0, (1, 2)) / entries  # a zero times anything finite is zero; NaN counts
        count = (broken * samples[0].size).round().clamp(min=1)
        nonfinite = torch.where(torch.isfinite(absmax), torch.zeros_like(count), count)
    # Divided by the largest, squares of large but finite activations do not overflow.
    unit = torch.where((absmax > 0) & torch.isfinite(absmax), absmax, torch.ones_like(absmax))
    part.div_(unit[:, None, None])  # in place: what lies around at a window's end is memory that training wants
    signal = None
    if samples[0].batched:
        mean = part.mean(1, keepdim=True)
        spread = vector_norm(part.sub_(mean), 2, (1, 2)).square() / entries
        energy = spread + mean.square().mean((1, 2))
        signal = torch.where(energy == 0, energy, spread / energy)
    else:
        energy = vector_norm(part, 2, (1, 2)).square() / entries
    return ActivationStatistics(
        rms=energy.sqrt() * unit,
        absmax=absmax,
        zeros=zeros,
        nonfinite=nonfinite,
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
