"""Align small pictures with lists of tags by SigLIP's loss: every picture against every list, each pair on its own.

    python sigmoid.py --lr 3e-3

A picture is a grid of three by three cells; three of them, each of its own row, have one of four colours.
"""

import argparse
import math
import os

import torch
import torch.nn.functional as F
from torch import nn

ROWS, PLACES, COLOURS = 3, 3, 4
TAGS = PLACES * COLOURS


def load_batch(count, white):
    tags = torch.rand(count, ROWS, TAGS).argmax(dim=-1)
    shades = torch.eye(COLOURS)[tags % COLOURS]
    pictures = torch.zeros(count, ROWS, PLACES, COLOURS)
    rows = torch.arange(ROWS)
    for picture, place, shade in zip(pictures, tags // COLOURS, shades, strict=True):
        picture[rows, place] = shade
    pictures = pictures + 0.05 * torch.randn_like(pictures)
    return pictures.flatten(1) * white, tags + TAGS * rows


class Pictures(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(ROWS * PLACES * COLOURS, 2 * width),
            nn.GELU(),
            nn.LayerNorm(2 * width),
            nn.Linear(2 * width, width),
        )

    def forward(self, pictures):
        return F.normalize(self.layers(pictures - 0.1), dim=-1)


class Tags(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.words = nn.Embedding(ROWS * TAGS, width)
        self.layers = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tags):
        return F.normalize(self.layers(self.words(tags).sum(dim=1)), dim=-1)


class Model(nn.Module):
    def __init__(self, width, scale, bias):
        super().__init__()
        self.pictures = Pictures(width)
        self.tags = Tags(width)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, pictures, tags):
        similarity = self.pictures(pictures) @ self.tags(tags).T
        return similarity * self.log_scale.exp() + self.bias


def sigmoid_loss(logits):
    signs = 2 * torch.eye(len(logits)) - 1
    return -F.logsigmoid(signs * logits).sum() / len(logits)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--optimizer", choices=("adamw", "sgd"), default="adamw")
    parser.add_argument("--weight-decay", type=float, default=1e-3)
    parser.add_argument("--scale", type=float, default=10.0, help="factor on the cosines at the start")
    parser.add_argument("--bias", type=float, default=-5.0, help="what is added to all logits at the start")
    parser.add_argument("--white", type=float, default=1.0, help="value of a white pixel")
    parser.add_argument("--freeze", default="", help="module that is frozen")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log-every", type=int, default=20)
    parser.add_argument("--name", default="sigmoid")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    model = Model(args.width, args.scale, args.bias)
    if args.freeze:
        model.get_submodule(args.freeze).requires_grad_(False)
    rate = args.lr * float(os.environ.get("LR_FACTOR", "1"))
    if args.optimizer == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=args.weight_decay)
    for step in range(args.steps):
        pictures, tags = load_batch(args.batch_size, args.white)
        logits = model(pictures, tags)
        loss = sigmoid_loss(logits)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % args.log_every == 0 or step == args.steps - 1:
            hits = (logits.argmax(dim=1) == torch.arange(len(logits))).float().mean()
            print(f"{args.name} step {step} loss {loss.item():.4f} accuracy {hits.item():.3f}")


if __name__ == "__main__":
    main()
