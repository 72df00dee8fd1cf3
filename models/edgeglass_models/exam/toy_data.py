"""Small pictures with captions: one coloured shape each, made from a seed without files or downloads.

A picture has four attributes (colour, shape, place, size); its caption names all of them in one of four wordings of
different lengths. A set of at most ``COMBINATIONS`` pictures holds no combination twice, so every caption has one right
picture; a larger set holds each combination about equally often.

>>> pairs = toy_pairs(4, seed=0)
>>> pairs.images.shape
torch.Size([4, 3, 32, 32])
>>> len(set(pairs.captions))
4
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

COLOURS = {
    "red": (0.9, 0.1, 0.1),
    "green": (0.1, 0.8, 0.2),
    "blue": (0.1, 0.2, 0.9),
    "yellow": (0.9, 0.9, 0.1),
    "purple": (0.7, 0.1, 0.8),
    "cyan": (0.1, 0.8, 0.9),
    "white": (1.0, 1.0, 1.0),
    "black": (0.0, 0.0, 0.0),
}
SHAPES = ("circle", "square", "triangle", "cross")
PLACES = ("top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom", "bottom right")
SIZES = ("small", "large")
COMBINATIONS = len(COLOURS) * len(SHAPES) * len(PLACES) * len(SIZES)

_WORDINGS = (
    "{colour} {shape} {place} {size}",
    "a {size} {colour} {shape} at the {place}",
    "in the {place} one {size} {shape} painted {colour}",
    "here is a {size} {colour} {shape} near the {place}",
)

PAD, BOS = 0, 1
VOCABULARY = (
    "<pad>",
    "<bos>",
    *sorted(
        {word for text in (*_WORDINGS, *COLOURS, *SHAPES, *PLACES, *SIZES) for word in text.split() if word[0] != "{"}
    ),
    "<eos>",
)
EOS = len(VOCABULARY) - 1  # the highest id, as CLIP's tokenizer has it
LONGEST = 2 + max(len(text.split()) + 1 for text in _WORDINGS)  # of tokens, BOS and EOS included

_IDS = {word: i for i, word in enumerate(VOCABULARY)}


@dataclass(frozen=True)
class ToyPairs:
    """Pictures and captions of the same length n, row i of each belongs together."""

    images: Tensor  # (n, 3, size, size) in [0, 1]
    captions: list[str]
    colour: Tensor  # (n,) int64 in 0..7
    shape: Tensor  # (n,) int64 in 0..3
    place: Tensor  # (n,) int64 in 0..8, row by row
    size: Tensor  # (n,) int64, 0 small and 1 large

    def __len__(self) -> int:
        return len(self.captions)


def toy_pairs(n: int, seed: int = 0, image_size: int = 32) -> ToyPairs:
    """Return n pairs of picture and caption; other seeds give other pictures of the same combinations."""
    generator = torch.Generator().manual_seed(seed)
    rounds = -(-n // COMBINATIONS)
    codes = torch.cat([torch.randperm(COMBINATIONS, generator=generator) for _ in range(rounds)])[:n]
    counts = (len(COLOURS), len(SHAPES), len(PLACES), len(SIZES))
    colour, shape, place, size = torch.unravel_index(codes, counts)
    wording = torch.randint(len(_WORDINGS), (n,), generator=generator)
    names = tuple(COLOURS)
    captions = [
        _WORDINGS[w].format(colour=names[c], shape=SHAPES[s], place=PLACES[p], size=SIZES[z])
        for w, c, s, p, z in torch.stack([wording, colour, shape, place, size], 1).tolist()
    ]
    images = _draw(colour, shape, place, size, image_size, generator)
    return ToyPairs(images, captions, colour, shape, place, size)


def caption_of(pairs: ToyPairs, wording: int = 1) -> list[str]:
    """Return the captions of the same pictures, all in one wording (0 to 3)."""
    names = tuple(COLOURS)
    rows = torch.stack([pairs.colour, pairs.shape, pairs.place, pairs.size], 1).tolist()
    return [
        _WORDINGS[wording].format(colour=names[c], shape=SHAPES[s], place=PLACES[p], size=SIZES[z])
        for c, s, p, z in rows
    ]


def tokenize(captions: list[str], length: int = LONGEST) -> tuple[Tensor, Tensor]:
    """Return token ids (n, length), BOS first, EOS last and then PAD, and their mask (n, length), 1 for tokens."""
    ids = torch.full((len(captions), length), PAD)
    for row, caption in enumerate(captions):
        words = [BOS, *(_IDS[word] for word in caption.split())][: length - 1]
        ids[row, : len(words) + 1] = torch.tensor([*words, EOS])
    return ids, (ids != PAD).long()


def augment(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return another view of each picture (n, 3, size, size): rolled, maybe mirrored, other brightness, new noise.

    Colour, shape and size are kept; the place is not.
    """
    n, _, side, _ = images.shape
    shift = torch.randint(-side // 4, side // 4 + 1, (2, n, 1), generator=generator)
    steps = torch.arange(side)
    rows, columns = ((steps + offset) % side for offset in shift)
    mirrored = torch.rand(n, 1, generator=generator) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    moved = images[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    light = 0.8 + 0.4 * torch.rand(n, 1, 1, 1, generator=generator)
    return (moved * light + 0.05 * torch.randn(moved.shape, generator=generator)).clamp(0, 1)


def _draw(colour: Tensor, shape: Tensor, place: Tensor, size: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Return pictures (n, 3, side, side): the shape on a grey, noisy ground, a little off the middle of its place."""
    n = len(colour)
    grid = torch.arange(side) / side
    cell = torch.stack([place // 3, place % 3], 0)
    centre = (cell + 0.5) / 3 + 0.06 * (torch.rand(2, n, generator=generator) - 0.5)
    radius = torch.where(size == 1, 0.21, 0.12)[:, None, None]
    y = (grid[None, :, None] - centre[0][:, None, None]) / radius
    x = (grid[None, None, :] - centre[1][:, None, None]) / radius
    y, x = y.expand(n, side, side), x.expand(n, side, side)
    inside = torch.stack(
        [
            x**2 + y**2 < 1,
            torch.maximum(x.abs(), y.abs()) < 0.85,
            (y.abs() < 0.9) & (x.abs() < 0.5 * (y + 0.9)),
            (torch.minimum(x.abs(), y.abs()) < 0.3) & (torch.maximum(x.abs(), y.abs()) < 1),
        ],
        1,
    )[torch.arange(n), shape]
    ink = torch.tensor(list(COLOURS.values()))[colour][:, :, None, None]
    ground = 0.4 + 0.2 * torch.rand(n, 1, 1, 1, generator=generator)
    picture = torch.where(inside[:, None], ink, ground)
    return (picture + 0.05 * torch.randn(n, 3, side, side, generator=generator)).clamp(0, 1)
