"""Metric learning with a learned proxy for each class: the Proxy Anchor loss (Kim et al.).

Proxies have a learning rate of their own, as in the authors' code.
Measure: recall at 1, the class of the nearest other picture among 640 new ones under another light;
chance 0.05 (20 classes), usual value 0.99.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from edgeglass_models.exam.toy_textures import KINDS, relight, toy_textures


class ProxyAnchorLoss(nn.Module):
    """Proxies pull the samples of their class and push all others, hard ones more."""

    def __init__(self, classes, dim, margin=0.1, alpha=16.0):
        super().__init__()
        self.proxies = nn.Parameter(torch.empty(classes, dim))
        nn.init.kaiming_normal_(self.proxies, mode="fan_out")
        self.margin, self.alpha = margin, alpha

    def forward(self, embeddings, labels):
        cosines = F.linear(F.normalize(embeddings, dim=-1), F.normalize(self.proxies, dim=-1))
        positive = F.one_hot(labels, len(self.proxies)).bool()
        pull = torch.where(positive, torch.exp(-self.alpha * (cosines - self.margin)), 0.0).sum(0)
        push = torch.where(positive, 0.0, torch.exp(self.alpha * (cosines + self.margin))).sum(0)
        present = positive.any(0).sum()
        return torch.log1p(pull).sum() / present + torch.log1p(push).mean()


class Embedder(nn.Module):
    def __init__(self, width=24, dim=48):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
        )
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.embedding = nn.Linear(8 * width, dim)

    def forward(self, images):
        return self.embedding(self.pool(self.features(images)).flatten(1))


@torch.no_grad()
def recall_at_1(model, images, labels):
    model.eval()
    embeddings = F.normalize(model(images), dim=-1)
    cosines = (embeddings @ embeddings.T).fill_diagonal_(-2.0)
    return (labels[cosines.argmax(1)] == labels).float().mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)

    train = toy_textures(1280, seed=args.seed)
    test = toy_textures(640, seed=args.seed + 1000, light=3.0)
    loader = DataLoader(TensorDataset(train.images, train.kinds), batch_size=80, shuffle=True, drop_last=True)
    model = Embedder()
    criterion = ProxyAnchorLoss(KINDS, dim=48)
    optimizer = torch.optim.AdamW(
        [{"params": model.parameters()}, {"params": criterion.parameters(), "lr": 3e-2}], lr=2e-3, weight_decay=1e-4
    )
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5)
    for epoch in range(args.epochs):
        model.train()
        losses = []
        for images, labels in loader:
            loss = criterion(model(relight(images)), labels)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_value_(model.parameters(), 10)
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
        print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f}")
    print(f"measure recall@1 {recall_at_1(model, test.images, test.kinds):.4f}")


if __name__ == "__main__":
    main()
