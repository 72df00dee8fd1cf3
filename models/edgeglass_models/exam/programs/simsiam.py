"""SimSiam: a predictor on one view chases the other view's projection, through which no gradient flows.

Chance 0.05 (20 kinds of texture, seen under another light than in training), untrained about 0.53, usual value 0.95.
"""

import argparse
import math

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

from edgeglass_models.exam.toy_textures import relight, toy_textures


class TwoCropsTransform:
    """Take two random crops of one image as the query and the key."""

    def __init__(self, base_transform):
        self.base_transform = base_transform

    def __call__(self, x):
        return [self.base_transform(x), self.base_transform(x)]


class TextureFolder(Dataset):
    def __init__(self, images, kinds, transform=None):
        self.images, self.kinds, self.transform = images, kinds, transform

    def __len__(self):
        return len(self.kinds)

    def __getitems__(self, indices):
        views = self.transform(self.images[indices])
        return list(zip(*views, self.kinds[indices], strict=True))


class SimSiam(nn.Module):
    """A base encoder with a 3-layer projector, and a 2-layer predictor."""

    def __init__(self, dim=128, pred_dim=32):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 32, kernel_size=3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 64, kernel_size=3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, dim),
        )
        self.projector = nn.Sequential(
            nn.Linear(dim, dim, bias=False),
            nn.BatchNorm1d(dim),
            nn.ReLU(inplace=True),
            nn.Linear(dim, dim, bias=False),
            nn.BatchNorm1d(dim, affine=False),
        )
        self.predictor = nn.Sequential(
            nn.Linear(dim, pred_dim, bias=False),
            nn.BatchNorm1d(pred_dim),
            nn.ReLU(inplace=True),
            nn.Linear(pred_dim, dim),
        )

    def forward(self, x1, x2):
        z1 = self.projector(self.backbone(x1))
        z2 = self.projector(self.backbone(x2))
        p1 = self.predictor(z1)
        p2 = self.predictor(z2)
        return p1, p2, z1.detach(), z2.detach()


class AverageMeter:
    """Computes and stores the average and current value."""

    def __init__(self, name):
        self.name, self.val, self.sum, self.count = name, 0.0, 0.0, 0

    def update(self, val, n=1):
        self.val = val
        self.sum += val * n
        self.count += n

    def __str__(self):
        return f"{self.name} {self.val:.4f} ({self.sum / max(self.count, 1):.4f})"


def adjust_learning_rate(optimizer, init_lr, epoch, epochs):
    """Decay the learning rate based on schedule; the predictor's stays."""
    cur_lr = init_lr * 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))
    for param_group in optimizer.param_groups:
        param_group["lr"] = init_lr if param_group.get("fix_lr") else cur_lr


def train(train_loader, model, criterion, optimizer, epoch):
    losses, spread = AverageMeter("Loss"), AverageMeter("Std")
    model.train()
    for x1, x2, _ in train_loader:
        p1, p2, z1, z2 = model(x1=x1, x2=x2)
        loss = -(criterion(p1, z2).mean() + criterion(p2, z1).mean()) * 0.5
        losses.update(loss.item(), x1.size(0))
        spread.update(nn.functional.normalize(z1, dim=1).std(0).mean().item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"Epoch: [{epoch}] {losses} {spread}")


@torch.no_grad()
def knn_test(net, memory, test, k=5):
    net.eval()
    feature_bank = nn.functional.normalize(net(memory.images), dim=1)
    feature = nn.functional.normalize(net(test.images), dim=1)
    _, indices = (feature @ feature_bank.t()).topk(k=k, dim=-1)
    pred_labels = memory.kinds[indices].mode(dim=-1).values
    return (pred_labels == test.kinds).float().mean().item()


def main():
    parser = argparse.ArgumentParser(description="SimSiam training")
    parser.add_argument("--seed", default=0, type=int)
    parser.add_argument("--epochs", default=9, type=int)
    parser.add_argument("-b", "--batch-size", default=32, type=int)
    parser.add_argument("--lr", default=0.03, type=float)
    parser.add_argument("--wd", default=5e-4, type=float)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)

    known = toy_textures(1280, seed=args.seed, light=0.5)
    new = toy_textures(640, seed=args.seed + 1000, light=2.0)
    train_dataset = TextureFolder(known.images, known.kinds, TwoCropsTransform(relight))
    train_loader = DataLoader(train_dataset, batch_size=args.batch_size, shuffle=True, drop_last=True)

    model = SimSiam()
    criterion = nn.CosineSimilarity(dim=1)
    optim_params = [
        {"params": [*model.backbone.parameters(), *model.projector.parameters()], "fix_lr": False},
        {"params": model.predictor.parameters(), "fix_lr": True},
    ]
    optimizer = torch.optim.SGD(optim_params, args.lr, momentum=0.9, weight_decay=args.wd)
    for epoch in range(args.epochs):
        adjust_learning_rate(optimizer, args.lr, epoch, args.epochs)
        train(train_loader, model, criterion, optimizer, epoch)

    print(f"measure knn_accuracy {knn_test(model.backbone, known, new):.4f}")


if __name__ == "__main__":
    main()
