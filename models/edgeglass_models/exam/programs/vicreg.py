"""VICReg: two views agree, every dimension keeps its variance and no two dimensions vary together; linear probe.

Chance 0.05 (20 kinds of texture, seen under another light than in training), usual value 0.98.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn, optim

from edgeglass_models.exam.toy_textures import KINDS, relight, toy_textures


def make_projector(mlp, embedding):
    sizes = [embedding, *map(int, mlp.split("-"))]
    layers = []
    for i in range(len(sizes) - 2):
        layers += [nn.Linear(sizes[i], sizes[i + 1]), nn.BatchNorm1d(sizes[i + 1]), nn.ReLU(True)]
    layers.append(nn.Linear(sizes[-2], sizes[-1], bias=False))
    return nn.Sequential(*layers)


def off_diagonal(x):
    n, m = x.shape
    assert n == m
    return x.flatten()[:-1].view(n - 1, n + 1)[:, 1:].flatten()


class VICReg(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.args = args
        self.num_features = int(args.mlp.split("-")[-1])
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 32, 3, stride=2, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 48, 3, stride=2, padding=1),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(48 * 16, args.embedding),
        )
        self.projector = make_projector(args.mlp, args.embedding)

    def forward(self, x, y):
        x = self.projector(self.backbone(x))
        y = self.projector(self.backbone(y))

        repr_loss = F.mse_loss(x, y)

        x = x - x.mean(dim=0)
        y = y - y.mean(dim=0)
        std_x = torch.sqrt(x.var(dim=0) + 0.0001)
        std_y = torch.sqrt(y.var(dim=0) + 0.0001)
        std_loss = torch.mean(F.relu(1 - std_x)) / 2 + torch.mean(F.relu(1 - std_y)) / 2

        cov_x = (x.T @ x) / (self.args.batch_size - 1)
        cov_y = (y.T @ y) / (self.args.batch_size - 1)
        cov_loss = off_diagonal(cov_x).pow(2).sum() / self.num_features
        cov_loss = cov_loss + off_diagonal(cov_y).pow(2).sum() / self.num_features

        return self.args.sim_coeff * repr_loss + self.args.std_coeff * std_loss + self.args.cov_coeff * cov_loss


def linear_probe(backbone, known, new, args):
    """Accuracy of a linear classifier on the frozen backbone's standardised features."""
    backbone.eval()
    with torch.no_grad():
        features, queries = backbone(known.images), backbone(new.images)
    mean, std = features.mean(0), features.std(0) + 1e-6
    features, queries = (features - mean) / std, (queries - mean) / std
    head = nn.Linear(args.embedding, KINDS)
    optimizer = optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(args.probe_epochs):
        for rows in torch.randperm(len(features)).split(args.probe_batch_size):
            optimizer.zero_grad()
            F.cross_entropy(head(features[rows]), known.kinds[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        return (head(queries).argmax(1) == new.kinds).float().mean().item()


def get_arguments():
    parser = argparse.ArgumentParser(description="Pretrain a small convnet with VICReg", add_help=False)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mlp", default="128-128-128", help="Size and number of layers of the MLP expander head")
    parser.add_argument("--embedding", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--base-lr", type=float, default=2e-3)
    parser.add_argument("--wd", type=float, default=1e-6)
    parser.add_argument("--sim-coeff", type=float, default=25.0, help="Invariance regularization loss coefficient")
    parser.add_argument("--std-coeff", type=float, default=25.0, help="Variance regularization loss coefficient")
    parser.add_argument("--cov-coeff", type=float, default=1.0, help="Covariance regularization loss coefficient")
    parser.add_argument("--probe-epochs", type=int, default=8)
    parser.add_argument("--probe-batch-size", type=int, default=128)
    return parser.parse_args()


def main():
    args = get_arguments()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)

    known = toy_textures(1280, seed=args.seed, light=0.5)
    new = toy_textures(640, seed=args.seed + 1000, light=4.0)
    model = VICReg(args)
    optimizer = optim.AdamW(model.parameters(), lr=args.base_lr, weight_decay=args.wd)
    per_epoch = len(known) // args.batch_size
    scheduler = optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=args.base_lr, total_steps=args.epochs * per_epoch, pct_start=0.1
    )
    for epoch in range(args.epochs):
        model.train()
        for rows in torch.randperm(len(known)).split(args.batch_size):
            if len(rows) < args.batch_size:
                continue
            images = known.images[rows]
            x, y = relight(images), relight(images)
            optimizer.zero_grad()
            loss = model.forward(x, y)
            loss.backward()
            optimizer.step()
            scheduler.step()
        print(dict(epoch=epoch, loss=round(loss.item(), 4), lr=optimizer.param_groups[0]["lr"]))

    print(f"measure linear_probe {linear_probe(model.backbone, known, new, args):.4f}")


if __name__ == "__main__":
    main()
