"""Pairs that a small model learns in a hundred steps: four coloured quadrants and a caption that names them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SIZE, COLOURS, LENGTH = 16, 8, 8
PAD, BOS, EOS = 0, 1, 2 + 4 * COLOURS
VOCABULARY = EOS + 1


@dataclass(frozen=True)
class Pairs:
    """Images (B, 3, 16, 16), normalised to about zero mean and unit deviation, and tokens (B, 8), padded with 0.

    A text is BOS, one word for each coloured quadrant, EOS (the largest number of the vocabulary, as in CLIP).
    """

    images: Tensor
    tokens: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Tensor | slice) -> Pairs:
        return Pairs(self.images[index], self.tokens[index])


def draw_pairs(count: int, seed: int) -> Pairs:
    """Return ``count`` random pairs; the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    colours = torch.randint(-4, COLOURS, (count, 4), generator=generator).clamp(min=-1)  # -1 is an empty quadrant
    colours[:, 0].clamp_(min=0)
    noise = torch.randn(count, 3, SIZE, SIZE, generator=generator)
    return Pairs(_paint(colours) + 0.3 * noise, _write(colours))


def _paint(colours: Tensor) -> Tensor:
    """Return images of (N, 4) colours, -1 for none; channels are 1 or -1, 0 for no colour."""
    bits = torch.stack([(colours >> channel) & 1 for channel in range(3)], dim=1)  # (N, 3, 4)
    values = torch.where(colours.unsqueeze(1) >= 0, 2.0 * bits - 1.0, torch.zeros(()))
    grid = values.reshape(-1, 3, 2, 2)
    return grid.repeat_interleave(SIZE // 2, 2).repeat_interleave(SIZE // 2, 3)


def _write(colours: Tensor) -> Tensor:
    tokens = torch.full((len(colours), LENGTH), PAD)
    tokens[:, 0] = BOS
    for row, chosen in enumerate(colours.tolist()):
        words = [2 + COLOURS * place + colour for place, colour in enumerate(chosen) if colour >= 0]
        tokens[row, 1 : len(words) + 2] = torch.tensor([*words, EOS])
    return tokens
