"""Bring two sets of features into one space whose prefixes are spaces as well: a Matryoshka head on each side.

    python matryoshka.py --lr 3e-3

The features are two views of the same hidden numbers, as two encoders that were run before would give them.
"""

import argparse
import math
import os

import torch
import torch.nn.functional as F
from torch import nn

HIDDEN, FEATURES = 12, 48


class Views:
    def __init__(self):
        self.mixing = [torch.randn(HIDDEN, FEATURES) / math.sqrt(HIDDEN) for _ in range(2)]

    def draw(self, count, noise):
        hidden = torch.randn(count, HIDDEN)
        images, texts = (torch.tanh(hidden @ matrix) for matrix in self.mixing)
        return images + noise * torch.randn_like(images), texts + noise * torch.randn_like(texts)


class Head(nn.Module):
    def __init__(self, width, out):
        super().__init__()
        self.norm = nn.LayerNorm(FEATURES)
        self.rise = nn.Linear(FEATURES, width)
        self.fall = nn.Linear(width, out)

    def forward(self, features):
        return self.fall(torch.tanh(self.rise(self.norm(features))))


class Model(nn.Module):
    def __init__(self, width, out):
        super().__init__()
        self.image_head = Head(width, out)
        self.text_head = Head(width, out)

    def forward(self, images, texts):
        return self.image_head(images), self.text_head(texts)


def prefix_loss(images, texts, size, temperature):
    images = F.normalize(images[:, :size], dim=-1)
    texts = F.normalize(texts[:, :size], dim=-1)
    logits = images @ texts.T / temperature
    labels = torch.arange(len(logits))
    loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    return loss, (logits.argmax(dim=1) == torch.arange(len(logits))).float().mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--weight-decay", type=float, default=1e-3)
    parser.add_argument("--beta2", type=float, default=0.99)
    parser.add_argument("--temperature", type=float, default=0.1)
    parser.add_argument("--noise", type=float, default=0.05)
    parser.add_argument("--prefixes", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log-every", type=int, default=20)
    parser.add_argument("--name", default="matryoshka")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    views = Views()
    model = Model(args.width, max(args.prefixes))
    rate = args.lr * float(os.environ.get("LR_FACTOR", "1"))
    betas = (0.9, args.beta2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=betas, weight_decay=args.weight_decay)
    for step in range(args.steps):
        images, texts = model(*views.draw(args.batch_size, args.noise))
        results = [prefix_loss(images, texts, size, args.temperature) for size in args.prefixes]
        loss = torch.stack([result[0] for result in results]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % args.log_every == 0 or step == args.steps - 1:
            print(f"{args.name} step {step} loss {loss.item():.4f} accuracy {results[-1][1].item():.3f}")


if __name__ == "__main__":
    main()
