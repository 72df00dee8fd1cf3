"""SimCLR: two random views of every picture, NT-Xent over the batch, nearest neighbours on the encoder's output.

Chance 0.05 (20 kinds of texture, seen under another light than in training), untrained about 0.3, usual value 0.99.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

from edgeglass_models.exam.toy_textures import KINDS, relight, toy_textures

BATCH = 64
EPOCHS = 9
TEMPERATURE = 0.2


class Pictures(Dataset):
    """Pictures and their kind, which only the evaluation looks at."""

    def __init__(self, n, seed, light):
        textures = toy_textures(n, seed=seed, light=light)
        self.images, self.kinds = textures.images, textures.kinds

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i]


def two_views(rows):
    """Collate pictures into two independently augmented versions of the same batch."""
    images = torch.stack(rows)
    return relight(images), relight(images)


class SimCLR(nn.Module):
    """A small convolutional encoder and the projection head that is thrown away after training."""

    def __init__(self, width=32, dim=64):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * width, 128),
        )
        self.projector = nn.Sequential(nn.ReLU(), nn.Linear(128, dim))

    def forward(self, images):
        return self.projector(self.encoder(images))


def nt_xent(z1, z2, temperature):
    """Normalised temperature-scaled cross-entropy over the 2n views of a batch."""
    n = len(z1)
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    similarity = z @ z.T / temperature
    itself = torch.eye(2 * n, dtype=torch.bool)
    similarity = similarity.masked_fill(itself, float("-inf"))
    positives = torch.cat([torch.arange(n, 2 * n), torch.arange(n)])
    return F.cross_entropy(similarity, positives)


@torch.no_grad()
def knn_accuracy(model, train, test, k=5):
    """Vote of the k nearest training pictures by cosine similarity."""
    model.eval()
    bank = F.normalize(model.encoder(train.images), dim=1)
    queries = F.normalize(model.encoder(test.images), dim=1)
    neighbours = (queries @ bank.T).topk(k, dim=1).indices
    votes = F.one_hot(train.kinds[neighbours], KINDS).sum(1)
    return (votes.argmax(1) == test.kinds).float().mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)

    train = Pictures(1280, seed=args.seed, light=0.5)
    test = Pictures(640, seed=args.seed + 1000, light=3.0)
    loader = DataLoader(train, batch_size=BATCH, shuffle=True, drop_last=True, collate_fn=two_views)
    model = SimCLR()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-6)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS * len(loader))

    for epoch in range(EPOCHS):
        model.train()
        total = 0.0
        for view1, view2 in loader:
            loss = nt_xent(model(view1), model(view2), TEMPERATURE)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(loader):.4f}")

    print(f"measure knn_accuracy {knn_accuracy(model, train, test):.4f}")


if __name__ == "__main__":
    main()
