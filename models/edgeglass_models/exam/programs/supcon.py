"""Supervised contrastive learning (Khosla et al.), then a linear classifier on the frozen encoder.

Chance 0.05 (20 kinds of texture, seen under another light than in training), usual value 0.99.
"""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from edgeglass_models.exam.toy_textures import KINDS, relight, toy_textures


class SupConModel(nn.Module):
    """Encoder and projection head; the head's outputs have unit length."""

    def __init__(self, dim_in=128, feat_dim=32):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 24, 4, stride=2, padding=1),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.Conv2d(24, 48, 4, stride=2, padding=1),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.1),
            nn.Linear(48 * 16, dim_in),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Linear(dim_in, dim_in), nn.ReLU(inplace=True), nn.Linear(dim_in, feat_dim))

    def forward(self, x):
        return F.normalize(self.head(self.encoder(x)), dim=1)


class SupConLoss(nn.Module):
    """All views of all pictures of the same label are positives of each other."""

    def __init__(self, temperature=0.1):
        super().__init__()
        self.temperature = temperature

    def forward(self, features, labels):
        batch_size, views = features.shape[:2]
        labels = labels.view(-1, 1)
        mask = torch.eq(labels, labels.T).float().repeat(views, views)
        anchors = torch.cat(torch.unbind(features, dim=1), dim=0)
        logits = anchors @ anchors.T / self.temperature
        logits = logits - logits.max(dim=1, keepdim=True).values.detach()
        logits_mask = 1.0 - torch.eye(views * batch_size)
        mask = mask * logits_mask
        exp_logits = torch.exp(logits) * logits_mask
        log_prob = logits - torch.log(exp_logits.sum(1, keepdim=True))
        mean_log_prob_pos = (mask * log_prob).sum(1) / mask.sum(1)
        return -mean_log_prob_pos.mean()


def train_encoder(model, loader, epochs):
    criterion = SupConLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, 1.0, total_iters=20)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader) - 20)
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, decay], milestones=[20])
    for epoch in range(1, epochs + 1):
        model.train()
        losses = []
        for images, labels in loader:
            images = torch.cat([relight(images), relight(images)], dim=0)
            f1, f2 = torch.split(model(images), len(labels), dim=0)
            loss = criterion(torch.stack([f1, f2], dim=1), labels)
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        print(f"Train: [{epoch}] loss {sum(losses) / len(losses):.3f}")


def train_classifier(model, classifier, loader, epochs):
    model.eval()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-2)
    for _ in range(epochs):
        for images, labels in loader:
            with torch.no_grad():
                features = model.encoder(relight(images))
            loss = criterion(classifier(features.detach()), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"Linear: loss {loss.item():.3f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)

    train = toy_textures(1280, seed=args.seed)
    test = toy_textures(640, seed=args.seed + 1000, light=3.0)
    loader = DataLoader(TensorDataset(train.images, train.kinds), batch_size=64, shuffle=True, drop_last=True)
    model = SupConModel()
    train_encoder(model, loader, epochs=6)
    torch.save(model.state_dict(), "supcon.pth")
    frozen = SupConModel()
    frozen.load_state_dict(torch.load("supcon.pth"))
    classifier = nn.Linear(128, KINDS)
    train_classifier(frozen, classifier, loader, epochs=3)
    with torch.no_grad():
        predicted = classifier(frozen.encoder(test.images)).argmax(1)
    print(f"measure accuracy {(predicted == test.kinds).float().mean().item():.4f}")


if __name__ == "__main__":
    main()
