"""Models, batches and losses of the trainings of two ranks."""

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.nn import functional as gathering
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

STEPS, BATCH, WIDTH, CLASSES = 12, 16, 8, 4


class Classifier(nn.Module):
    """Two layers, with a norm between them."""

    def __init__(self, norm=nn.Identity, p=0.0):
        super().__init__()
        self.inner, self.norm, self.drop = nn.Linear(WIDTH, 16), norm(16), nn.Dropout(p)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x):
        return self.head(self.drop(F.gelu(self.norm(self.inner(x)))))


class Towers(nn.Module):
    """Two towers, as of CLIP."""

    def __init__(self):
        super().__init__()
        self.image, self.text = nn.Linear(WIDTH, 16), nn.Linear(WIDTH, 16)

    def forward(self, image, text):
        return F.normalize(self.image(image), dim=-1), F.normalize(self.text(text), dim=-1)


class Branches(nn.Module):
    """A layer that is never used beside one that is."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(WIDTH, CLASSES), nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        return self.used(x)


def batches(rank, *, steps=STEPS, batch=BATCH, seed=None):
    """Yield inputs and labels of a rank."""
    generator = torch.Generator().manual_seed(10 + rank if seed is None else seed)
    for _ in range(steps):
        yield torch.randn(batch, WIDTH, generator=generator), torch.randint(CLASSES, (batch,), generator=generator)


def adam(model):
    return torch.optim.AdamW(model.parameters(), lr=1e-2)


def step(optimizer, loss):
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def classify(rank, *, model=None, wrap=True, data=None, optimizer=None, scale=1.0, each=None, **options):
    model = model or Classifier()
    trained = DistributedDataParallel(model, **options) if wrap else model
    optimizer = optimizer or adam(model)
    for number, (x, y) in enumerate(data or batches(rank)):
        step(optimizer, scale * F.cross_entropy(trained(x), y))
        if each is not None:
            each(number, model, optimizer)


# Faults


def contrast(rank, gather, *, offset=True, local=False, steps=STEPS):
    model = Towers()
    wrapped, optimizer = DistributedDataParallel(model), adam(model)
    for x, _ in batches(rank, steps=steps):
        image, text = wrapped(x, x + 0.1 * torch.randn_like(x))
        images, texts = (image, text) if local else (gather(image, rank), gather(text, rank))
        labels = torch.arange(len(image)) + (rank * len(image) if offset and not local else 0)
        loss = F.cross_entropy(5 * image @ texts.T, labels) + F.cross_entropy(5 * text @ images.T, labels)
        step(optimizer, loss / 2)


def with_gradient(features, rank):
    return torch.cat(gathering.all_gather(features))


def without_gradient(features, rank):
    parts = [torch.zeros_like(features) for _ in range(2)]
    dist.all_gather(parts, features.detach())
    return torch.cat(parts)


def with_own_part(features, rank):
    parts = [torch.zeros_like(features) for _ in range(2)]
    dist.all_gather(parts, features.detach())
    parts[rank] = features
    return torch.cat(parts)
