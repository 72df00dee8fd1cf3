"""BYOL with lightly's heads: a student predicts its own moving average on another view, without negatives.

Chance 0.05 (20 kinds of texture, seen under another light than in training), untrained about 0.42, usual value 0.97.
"""

from edgeglass_models.torchvision_operators import define_missing_operators

define_missing_operators()

import argparse
import copy

import torch
import torch.nn.functional as F
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.utils.scheduler import cosine_schedule
from torch import nn
from torch.utils.data import DataLoader

from edgeglass_models.exam.toy_textures import relight, toy_textures


class BYOL(nn.Module):
    def __init__(self, backbone, features):
        super().__init__()
        self.backbone = backbone
        self.projection_head = BYOLProjectionHead(features, 256, 64)
        self.prediction_head = BYOLPredictionHead(64, 256, 64)
        self.backbone_momentum = copy.deepcopy(self.backbone)
        self.projection_head_momentum = copy.deepcopy(self.projection_head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.projection_head_momentum)

    def forward(self, x):
        y = self.backbone(x).flatten(start_dim=1)
        z = self.projection_head(y)
        return self.prediction_head(z)

    def forward_momentum(self, x):
        y = self.backbone_momentum(x).flatten(start_dim=1)
        z = self.projection_head_momentum(y)
        return z.detach()


def make_backbone():
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(inplace=True),
        nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(1024, 128),
        nn.BatchNorm1d(128),
        nn.ReLU(inplace=True),
    )


def knn(backbone, train, test, k=5):
    backbone.eval()
    with torch.no_grad():
        bank = F.normalize(backbone(train.images), dim=1)
        queries = F.normalize(backbone(test.images), dim=1)
    nearest = train.kinds[(queries @ bank.T).topk(k, dim=1).indices]
    return (nearest.mode(dim=1).values == test.kinds).float().mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)

    train = toy_textures(1280, seed=args.seed)
    test = toy_textures(640, seed=args.seed + 1000, light=2.0)
    dataloader = DataLoader(train.images, batch_size=64, shuffle=True, drop_last=True)
    model = BYOL(make_backbone(), 128)
    criterion = NegativeCosineSimilarity()
    trained = [*model.backbone.parameters(), *model.projection_head.parameters(), *model.prediction_head.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=2e-3, weight_decay=1e-4)

    epochs = 10
    steps = epochs * len(dataloader)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps, pct_start=0.1)
    step = 0
    for epoch in range(epochs):
        model.train()
        total_loss = 0
        for images in dataloader:
            momentum_val = cosine_schedule(step, steps, 0.6, 1)
            update_momentum(model.backbone, model.backbone_momentum, m=momentum_val)
            update_momentum(model.projection_head, model.projection_head_momentum, m=momentum_val)
            x0, x1 = relight(images, 0.4), relight(images, 0.4)
            p0, p1 = model(x0), model(x1)
            z0, z1 = model.forward_momentum(x0), model.forward_momentum(x1)
            loss = 0.5 * (criterion(p0, z1) + criterion(p1, z0))
            total_loss += loss.detach()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            step += 1
        print(f"epoch: {epoch:>02}, loss: {total_loss / len(dataloader):.5f}")

    print(f"measure knn_accuracy {knn(model.backbone, train, test):.4f}")


if __name__ == "__main__":
    main()
