"""A picture classifier as in many tutorials: autocast in bfloat16, one-cycle schedule, label smoothing.

Chance 0.03 (32 classes of colour and shape), usual value 0.8.
"""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from edgeglass_models.exam.toy_data import toy_pairs

MEAN = torch.tensor([0.49, 0.49, 0.50]).view(3, 1, 1)
STD = torch.tensor([0.17, 0.17, 0.17]).view(3, 1, 1)


class Shapes(Dataset):
    def __init__(self, n, seed, train):
        pairs = toy_pairs(n, seed=seed, image_size=24)
        self.images, self.targets = pairs.images, pairs.colour * 4 + pairs.shape
        self.train = train

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        image = (self.images[index] - MEAN) / STD
        if self.train and torch.rand(()) < 0.5:
            image = image.flip(-1)
        return image, self.targets[index]


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 24, 3, padding=1, stride=2, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(inplace=True),
            nn.Conv2d(24, 48, 3, padding=1, bias=False),
            nn.BatchNorm2d(48),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(48, 96, 3, padding=1, bias=False),
            nn.BatchNorm2d(96),
            nn.ReLU(inplace=True),
            nn.AdaptiveMaxPool2d(1),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(96, num_classes))

    def forward(self, x):
        return self.classifier(self.features(x))


def train_one_epoch(model, loader, criterion, optimizer, scheduler):
    model.train()
    running_loss, correct, seen = 0.0, 0, 0
    for images, targets in loader:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = model(images)
            loss = criterion(outputs, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm=2.0)
        optimizer.step()
        scheduler.step()
        running_loss += loss.item() * len(targets)
        correct += (outputs.argmax(1) == targets).sum().item()
        seen += len(targets)
    return running_loss / seen, correct / seen


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    correct = sum((model(images).argmax(1) == targets).sum().item() for images, targets in loader)
    return correct / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=6)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)

    train_loader = DataLoader(Shapes(1152, args.seed, train=True), batch_size=64, shuffle=True)
    val_loader = DataLoader(Shapes(576, args.seed + 1000, train=False), batch_size=192)
    model = Net(num_classes=32)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=1e-2)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1e-2, epochs=args.epochs, steps_per_epoch=len(train_loader)
    )
    best = 0.0
    for epoch in range(args.epochs):
        loss, accuracy = train_one_epoch(model, train_loader, criterion, optimizer, scheduler)
        val_accuracy = evaluate(model, val_loader)
        print(f"epoch {epoch}: train loss {loss:.4f} acc {accuracy:.3f}, val acc {val_accuracy:.3f}")
        if val_accuracy >= best:
            best = val_accuracy
            torch.save(model.state_dict(), "best.pt")

    model.load_state_dict(torch.load("best.pt"))
    print(f"measure accuracy {evaluate(model, val_loader):.4f}")


if __name__ == "__main__":
    main()
