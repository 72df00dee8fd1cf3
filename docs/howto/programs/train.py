"""Align pictures with captions by CLIP's loss with a learned logit scale; each option brings one mistake into it.

    python train.py --lr 1

A picture shows six things of six kinds each, as noisy numbers; its caption names them. Pairs of validation are others.
"""

import argparse
import contextlib
import csv
import itertools
import math

import torch
import torch.nn.functional as F
from torch import nn

KINDS = 6
CHOICES = torch.tensor(list(itertools.permutations(range(KINDS))))
WIDTH, BATCH = 32, 32


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--log-scale", type=float, default=math.log(1 / 0.07), help="logit scale at the start")
    parser.add_argument("--white", type=float, default=1.0, help="value of a white pixel")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--no-grad", action="store_true", help="the picture's tower runs under torch.no_grad")
    parser.add_argument("--no-eval", action="store_true", help="validation forgets model.eval()")
    parser.add_argument("--blank-at", type=int, help="step of a batch with a blank picture; all are standardised")
    parser.add_argument("--raise-at", type=int, help="step from which on the learning rate is 1")
    parser.add_argument("--forget-at", type=int, help="step of a resumption that loads one tower alone")
    parser.add_argument("--log", help="CSV file for the numbers")
    return parser.parse_args()


class Tower(nn.Module):
    def __init__(self, inputs, dropout):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, 4 * WIDTH), nn.Tanh(), nn.Dropout(dropout), nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, x):
        return F.normalize(self.layers(x), dim=-1)


class Model(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.image = Tower(KINDS * KINDS, args.dropout)
        self.text = Tower(KINDS * KINDS, args.dropout)
        self.log_scale = nn.Parameter(torch.tensor(args.log_scale))
        self.no_grad = args.no_grad

    def forward(self, pictures, captions):
        with torch.no_grad() if self.no_grad else contextlib.nullcontext():
            images = self.image(pictures)
        return self.scale() * images @ self.text(captions).T

    def scale(self):
        return self.log_scale.clamp(max=math.log(100)).exp()


def draw(rows, white):
    things = F.one_hot(rows, KINDS).flatten(1).float()
    pictures = 0.5 + 0.25 * (things + 0.2 * torch.randn_like(things) - 1 / KINDS)
    return pictures * white, things


def standardised(pictures, blank):
    if blank:
        pictures[0] = 0.5
    return (pictures - pictures.mean(1, keepdim=True)) / pictures.std(1, keepdim=True)


def contrastive(logits):
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def validate(model, rows, args):
    if not args.no_eval:
        model.eval()
    with torch.no_grad():
        logits = model(*draw(rows, args.white))
    model.train()
    return contrastive(logits[:BATCH, :BATCH]).item(), (logits.argmax(1) == torch.arange(len(rows))).float().mean()


def optimizer_of(model, args):
    rest = [parameter for name, parameter in model.named_parameters() if name != "log_scale"]
    rates = [{"params": rest}, {"params": [model.log_scale], "lr": 4e-3, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(rates, lr=args.lr)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.steps)
    return optimizer, fall


def main():
    args = parse_arguments()
    torch.manual_seed(0)
    model = Model(args)
    optimizer, schedule = optimizer_of(model, args)
    order = torch.randperm(len(CHOICES))
    trained, kept = CHOICES[order[:512]], CHOICES[order[512:]]
    rows = []
    for step in range(args.steps):
        if step == args.forget_at:
            model.text = Tower(KINDS * KINDS, args.dropout)
            optimizer, schedule = optimizer_of(model, args)
        if args.raise_at is not None and step >= args.raise_at:
            optimizer.param_groups[0]["lr"] = 1.0
        pictures, captions = draw(trained[torch.randperm(len(trained))[:BATCH]], args.white)
        if args.blank_at is not None:
            pictures = standardised(pictures, step == args.blank_at)
        logits = model(pictures, captions)
        loss = contrastive(logits)
        optimizer.zero_grad()
        loss.backward()
        rate = optimizer.param_groups[0]["lr"]
        optimizer.step()
        schedule.step()
        if step % 5 == 4:
            val_loss, recall = validate(model, kept, args)
            row = {"step": step, "lr": rate, "train_loss": loss.item(), "logit_scale": model.scale().item()}
            rows.append(row | {"val_loss": val_loss, "i2t_R@1": recall.item()})
            print(" ".join(f"{name} {value:.6g}" for name, value in rows[-1].items()))
    if args.log:
        with open(args.log, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
