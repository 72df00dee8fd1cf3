"""A small contrastive training on pictures with captions, as a batch of a collator has them.

    python -m tests.helpers.pictured_training OUT STEPS

Pictures are squares of a colour at a place, captions say both; one caption is what a page must not take for HTML.
"""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

import edgeglass_diag as eg

PAIRS, PIXELS, WIDTH = 24, 32, 16
EVIL = '<img src=x onerror="window.evil=1"> <b>bold</b> &amp; %{x}'
COLORS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "white": (1, 1, 1), "yellow": (1, 1, 0)}
PLACES = ("top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right")


class Towers(nn.Module):
    def __init__(self):
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(3, 12, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(12 * 64, WIDTH))
        self.text = nn.EmbeddingBag(len(COLORS) + len(PLACES), WIDTH)

    def forward(self, batch):
        return normalize(self.image(batch["pixels"]), dim=-1), normalize(self.text(batch["ids"]), dim=-1)


def batch_of(drawn, pairs):
    """Pairs of a colour and a place each, normalised as pictures are; the first caption is ``EVIL``."""
    colors = torch.randint(len(COLORS), (pairs,), generator=drawn)
    places = torch.randint(len(PLACES), (pairs,), generator=drawn)
    pixels = 0.1 * torch.randn(pairs, 3, PIXELS, PIXELS, generator=drawn)
    for row, (color, place) in enumerate(zip(colors.tolist(), places.tolist(), strict=True)):
        top, left = 11 * (place // 3), 11 * (place % 3)
        pixels[row, :, top : top + 10, left : left + 10] += torch.tensor(list(COLORS.values())[color])[:, None, None]
    said = zip(colors.tolist(), places.tolist(), strict=True)
    captions = [f"a {list(COLORS)[color]} square at the {PLACES[place]}" for color, place in said]
    ids = torch.stack([colors, len(COLORS) + places], 1)
    return {"pixels": (pixels - 0.3) / 0.25, "ids": ids, "caption": [EVIL, *captions[1:]]}


def train(out, *, steps, pairs=PAIRS, samples=True):
    """Train, and keep the run at ``out``."""
    torch.manual_seed(0)
    drawn = torch.Generator().manual_seed(0)
    model = Towers()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    with eg.watch(model, optimizer, out=out, samples=samples):
        for _ in range(steps):
            image, text = model(batch_of(drawn, pairs))
            logits = 10 * image @ text.T
            labels = torch.arange(pairs)
            ((cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2).backward()
            optimizer.step()
            optimizer.zero_grad()


if __name__ == "__main__":
    train(Path(sys.argv[1]), steps=int(sys.argv[2]), pairs=256)
