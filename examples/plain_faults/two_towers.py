"""Align pictures with captions: a frozen image tower, a Perceiver resampler on its tokens, a text tower, CLIP's loss.

    python two_towers.py --lr 2e-3

A picture has six attributes of which each has another of six values; its caption names them in any order.
"""

import argparse
import itertools
import math
import os

import torch
import torch.nn.functional as F
from torch import nn

ATTRIBUTES = 6
PAD, EOS = 0, 1
WORDS = 2 + ATTRIBUTES * ATTRIBUTES
CHOICES = torch.tensor(list(itertools.permutations(range(ATTRIBUTES))))


def load_pictures(count, white):
    values = CHOICES[torch.randperm(len(CHOICES))[:count]]
    places = F.one_hot(torch.arange(ATTRIBUTES), ATTRIBUTES).expand(count, -1, -1)
    pixels = torch.cat([places, F.one_hot(values, ATTRIBUTES)], dim=-1)
    pixels = pixels + 0.05 * torch.randn(count, ATTRIBUTES, 2 * ATTRIBUTES)
    return (0.5 + 0.16 * pixels) * white, values


def tokenize(values, length):
    order = torch.rand(values.shape).argsort(dim=1)
    words = 2 + ATTRIBUTES * order + values.gather(1, order)
    ids = torch.full((len(values), ATTRIBUTES + 3), PAD)
    ids[:, :ATTRIBUTES] = words
    ids[:, ATTRIBUTES] = EOS
    return ids[:, :length]


class ImageTower(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.embed = nn.Linear(2 * ATTRIBUTES, width)
        self.project = nn.Linear(width, width)

    def forward(self, pixels):
        return self.project(self.embed(pixels))


def load_image_tower(width):
    tower = ImageTower(width)
    weights = {name: torch.zeros_like(value) for name, value in tower.state_dict().items()}
    for name in ("embed.weight", "project.weight"):
        weight = nn.init.orthogonal_(weights[name])
        weight += (1 - weight.sum(dim=1, keepdim=True)) / weight.shape[1]  # what is grey stays the same in all units
    tower.load_state_dict(weights)
    return tower.requires_grad_(False).eval()


class Resampler(nn.Module):
    def __init__(self, width, norm, latents=6):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(latents, width))
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.keys = nn.Linear(width, width)
        self.values = nn.Linear(width, width)
        self.project = nn.Linear(width, width)

    def forward(self, tokens):
        tokens = self.norm(tokens)
        scores = self.latents @ self.keys(tokens).mT
        scores = scores / math.sqrt(tokens.shape[-1])
        seen = scores.softmax(dim=-1) @ self.values(tokens)
        return self.project(torch.tanh(seen)).mean(dim=1)


class TextTower(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.words = nn.Embedding(WORDS, width)
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.project = nn.Linear(width, width)

    def forward(self, ids):
        x = self.norm(self.words(ids))
        hidden = ids == PAD
        x = x + self.attention(x, x, x, key_padding_mask=hidden, need_weights=False)[0]
        shown = (~hidden).unsqueeze(-1).float()
        pooled = (x * shown).sum(dim=1) / shown.sum(dim=1)
        return self.project(torch.tanh(pooled))


class Model(nn.Module):
    def __init__(self, width, norm=True):
        super().__init__()
        self.image = load_image_tower(width)
        self.resampler = Resampler(width, norm)
        self.text = TextTower(width)

    def forward(self, pixels, ids):
        tokens = self.image(pixels)
        return self.resampler(tokens), self.text(ids)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--eps", type=float, default=1e-8)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--warmup", type=int, default=5, help="steps over which the learning rate rises")
    parser.add_argument("--decay-steps", type=int, default=400, help="steps after which it is zero")
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--temperature", type=float, default=0.1)
    parser.add_argument("--normalise", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--norm", action=argparse.BooleanOptionalAction, default=True, help="of the resampler's input")
    parser.add_argument("--freeze", default="", help="module that is frozen besides the image tower")
    parser.add_argument("--init-scale", type=float, default=1.0, help="factor on all initial matrices")
    parser.add_argument("--white", type=float, default=1.0, help="value of a white pixel")
    parser.add_argument("--max-length", type=int, default=9, help="words of a caption that are read")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log-every", type=int, default=20)
    parser.add_argument("--name", default="towers")
    return parser.parse_args()


def schedule(step, args):
    rise = min(1.0, (step + 1) / max(1, args.warmup))
    return rise * 0.5 * (1 + math.cos(math.pi * min(1.0, step / args.decay_steps)))


def main():
    args = parse_arguments()
    torch.manual_seed(args.seed)
    model = Model(args.width, args.norm)
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.ndim > 1:
            parameter.data.mul_(args.init_scale)
    if args.freeze:
        model.get_submodule(args.freeze).requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    rate = args.lr * float(os.environ.get("LR_FACTOR", "1"))
    optimizer = torch.optim.AdamW(trained, lr=rate, eps=args.eps, weight_decay=args.weight_decay)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule(step, args))
    for step in range(args.steps):
        pixels, values = load_pictures(args.batch_size, args.white)
        images, texts = model(pixels, tokenize(values, args.max_length))
        if args.normalise:
            images, texts = F.normalize(images, dim=-1), F.normalize(texts, dim=-1)
        logits = images @ texts.T / args.temperature
        labels = torch.arange(len(logits))
        loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, args.clip)
        optimizer.step()
        scheduler.step()
        if step % args.log_every == 0 or step == args.steps - 1:
            hits = (logits.argmax(dim=1) == torch.arange(len(logits))).float().mean()
            print(f"{args.name} step {step} loss {loss.item():.4f} accuracy {hits.item():.3f}")


if __name__ == "__main__":
    main()
