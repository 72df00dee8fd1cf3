"""What pictures look like: whether their pixels have anything in common with those around them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_SAMPLES, _SIDE = 16, 64
"""Pictures that are looked at, and rows and columns from their middle: nothing is told better by more."""
_FAR = (4, 6, 8)
"""Distances at which nothing is left of noise that was resized to its double: three, as a pattern may repeat itself."""
_SPARSE = 0.25
"""Median distance from the median, in standard deviations, below which a picture is dots on an even ground."""


class SharedEnergy(NamedTuple):
    """0-d tensors, shares of the energy of the pixels, 0 for white noise.

    Attributes:
        near: in common with neighbouring pixels.
        far: in common with pixels at distances of 4 to 8, or of all pictures at the same place.
    """

    near: Tensor
    far: Tensor


def shared_energy(pictures: Tensor) -> SharedEnergy:
    """Shares of the pixels' energy that they have in common with pixels around them, or with the other pictures.

    With pixels c less the mean of their channel over the batch, at a distance of d along rows or columns,
    |mean c_x c_(x+d)| / mean c^2, which one picture in ten exceeds; and
    (mean_x (mean_b c)^2 - mean c^2 / B) / mean c^2, what the pictures have in common at the same place. A picture that
    is flat, or dots on an even ground, counts as 1. White noise of n pixels a picture has about 2.5 / sqrt(n).

    Neighbouring pixels of natural pictures correlate by more than 0.9: Simoncelli and Olshausen, Natural image
    statistics and neural representation, https://doi.org/10.1146/annurev.neuro.24.1.1193

    Args:
        pictures: (B, C, H, W) or (B, H, W, C) with 1 or 3 channels, any real dtype, B >= 2.
    """
    first = pictures.shape[1] in (1, 3)
    pixels = _middle(pictures if first else pictures.movedim(-1, 1)).float()
    centred = pixels - pixels.mean((0, 2, 3), keepdim=True)
    energy = centred.square().mean((1, 2, 3))
    plain = _is_plain(centred, energy)
    total = energy.mean()
    places = (centred.mean(0).square().mean() - total / len(pixels)) / total
    far = torch.stack([_tenth(centred, energy, plain, distance) for distance in _FAR])
    return SharedEnergy(_tenth(centred, energy, plain, 1), torch.maximum(far.amax(), places.nan_to_num(1.0)))


def _tenth(centred: Tensor, energy: Tensor, plain: Tensor, distance: int) -> Tensor:
    """Return the correlation at a distance that one picture in ten exceeds: 0-d."""
    shares = plain.float()
    for axis in (2, 3):
        length = centred.shape[axis] - distance
        if length > 0:
            product = centred.narrow(axis, distance, length) * centred.narrow(axis, 0, length)
            shares = torch.maximum(shares, torch.where(plain, 1.0, product.mean((1, 2, 3)).abs() / energy))
    return shares.sort(descending=True).values[len(shares) // 10]


def _is_plain(centred: Tensor, energy: Tensor) -> Tensor:
    """Return for each picture whether it is flat, or dots on an even ground: (B,)."""
    some = centred.flatten(1)[:, ::5]
    spread = (some - some.median(1, keepdim=True).values).abs().median(1).values
    return spread <= _SPARSE * energy.sqrt()


def _middle(pictures: Tensor) -> Tensor:
    """Return the middle of some of the pictures, (b, C, h, w)."""
    top, left = (max(0, (size - _SIDE) // 2) for size in pictures.shape[2:])
    return pictures[:_SAMPLES, :, top : top + _SIDE, left : left + _SIDE]
