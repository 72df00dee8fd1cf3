"""Small textures of a few kinds under changing light: pictures whose kind stays while their light does not.

Each kind has one pattern. A picture is this pattern, shifted a little, with noise of its own, under a strong light that
falls off in a random direction and colour. Pictures of the same light look more alike than pictures of the same kind,
so that untrained features say little about the kind and those that ignore the light say all.

>>> textures = toy_textures(8, seed=0)
>>> textures.images.shape, relight(textures.images).shape
(torch.Size([8, 3, 16, 16]), torch.Size([8, 3, 16, 16]))
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

KINDS = 20
SIDE = 16


@dataclass(frozen=True)
class ToyTextures:
    """Pictures and their kind, both of length n."""

    images: Tensor  # (n, 3, SIDE, SIDE), zero mean
    kinds: Tensor  # (n,) int64 in 0..KINDS - 1

    def __len__(self) -> int:
        return len(self.kinds)


def toy_textures(n: int, seed: int = 0, light: float = 0.5) -> ToyTextures:
    """Return n pictures under a light of this strength, kinds about equally often and the same for every seed."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.arange(n)[torch.randperm(n, generator=generator)] % KINDS
    own = torch.randn(n, 3, SIDE, SIDE, generator=generator)
    return ToyTextures(_light(0.7 * _patterns()[kinds] + 0.3 * own, light, generator), kinds)


def relight(images: Tensor, light: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    """Return the same pictures (n, 3, side, side) shifted by up to a pixel, with new noise, under one more light."""
    n, _, side, _ = images.shape
    rows, columns = ((torch.arange(side) + torch.randint(-1, 2, (n, 1), generator=generator)) % side for _ in range(2))
    moved = images[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return _light(moved + 0.2 * torch.randn(moved.shape, generator=generator), light, generator)


def _patterns() -> Tensor:
    """Return the pattern of each kind, (KINDS, 3, SIDE, SIDE), smooth over about two pixels, unit variance."""
    coarse = torch.randn(KINDS, 3, SIDE // 2, SIDE // 2, generator=torch.Generator().manual_seed(0))
    smooth = F.interpolate(coarse, scale_factor=2, mode="bilinear")
    return smooth / smooth.std((1, 2, 3), keepdim=True)


def _light(images: Tensor, strength: float, generator: torch.Generator | None) -> Tensor:
    """Return the pictures with a plane of random slope and height added to each channel."""
    n, channels, side, _ = images.shape
    plane = strength * torch.randn(3, n, channels, 1, 1, generator=generator)
    ramp = torch.linspace(-1, 1, side)
    return images + plane[0] + plane[1] * ramp[:, None] + plane[2] * ramp
