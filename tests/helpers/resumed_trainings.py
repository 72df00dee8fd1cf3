"""A training that saves a checkpoint, and goes on from it in a second start; each fault leaves something out."""

import math

import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg

CLASSES, WIDTH, BATCH = 8, 32, 64
PLANNED = 400


def rate(step):
    """Warm-up over 40 steps, then a cosine to 0 at PLANNED."""
    return min(1.0, (step + 1) / 40) * 0.5 * (1 + math.cos(math.pi * step / PLANNED))


def adam(weights):
    return torch.optim.AdamW(weights, lr=1e-2)


def momentum(weights):
    return torch.optim.SGD(weights, lr=0.05, momentum=0.9)


def plain(weights):
    return torch.optim.SGD(weights, lr=0.1)


class Training:
    """A classifier of noisy prototypes that learns within 100 steps, on seeds of its own."""

    def __init__(self, *, seed=0, make=adam):
        torch.manual_seed(seed)
        layers = nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, CLASSES)
        self.model = nn.Sequential(*layers)
        self.optimizer = make(self.model.parameters())
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, rate)
        self.prototypes = torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(7))
        self.data = torch.Generator().manual_seed(3)

    def state(self):
        """What a checkpoint of a careful program holds."""
        parts = {name: getattr(self, name).state_dict() for name in ("model", "optimizer", "scheduler")}
        return copy_of({**parts, "data": self.data.get_state()})

    def load(self, kept, *, without=()):
        """Load a checkpoint but for some parts of it."""
        for name in ("model", "optimizer", "scheduler"):
            if name not in without:
                getattr(self, name).load_state_dict(kept[name])
        self.data.set_state(kept["data"])

    def train(self, steps):
        """Take some optimizer steps."""
        for _ in range(steps):
            labels = torch.randint(CLASSES, (BATCH,), generator=self.data)
            inputs = self.prototypes[labels] + torch.randn(BATCH, WIDTH, generator=self.data)
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(inputs), labels).backward()
            self.optimizer.step()
            self.scheduler.step()


def copy_of(kept):
    """Return a checkpoint as it is after it was written and read: what goes on does not change it."""
    if isinstance(kept, torch.Tensor):
        return kept.clone()
    if isinstance(kept, dict):
        return {name: copy_of(value) for name, value in kept.items()}
    return [copy_of(value) for value in kept] if isinstance(kept, list) else kept


def first_part(out, *, steps=150, lost=0, **options):
    """Train under observation, save at ``steps``, go on for ``lost`` steps and end; return the checkpoint."""
    training = Training(**options)
    with eg.watch(out=out):
        training.train(steps)
        kept = training.state()
        training.train(lost)
    return kept


def second_part(out, kept, *, without=(), steps=30, change=None, **options):
    """Go on with the same run from a checkpoint, without some parts of it; return the codes of the findings."""
    training = Training(**options)
    training.load(kept, without=without)
    if change is not None:
        change(training)
    with eg.watch(out=out, resume=True):
        training.train(steps)
    with eg.load(out) as run:
        return {finding.code for finding in run.findings}
