"""Trainings of two ranks on gloo in ways that are usual, each healthy or with one fault."""

import torch
from torch import nn
from torch.distributed.algorithms.join import Join
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel
from torch.utils.checkpoint import checkpoint

from tests.helpers.rank_models import BATCH, CLASSES, STEPS, WIDTH, Branches, Classifier, adam, batches, classify, step


def joined_epochs(rank):
    """Epochs in which the second rank has fewer batches, each inside of a Join: Adam's moments there lack steps."""
    _epochs_with_join(rank, adam)


def joined_epochs_without_state(rank):
    _epochs_with_join(rank, lambda model: torch.optim.SGD(model.parameters(), lr=0.05))


def _epochs_with_join(rank, made):
    model = Classifier()
    wrapped, optimizer = DistributedDataParallel(model), made(model)
    for epoch in range(2):
        with Join([wrapped]):
            for x, y in batches(rank, steps=STEPS - 5 * rank, seed=10 * epoch + rank):
                step(optimizer, F.cross_entropy(wrapped(x), y))


def never_synchronised(rank):
    """Accumulation in which the last pass is inside of ``no_sync`` too."""
    model = Classifier()
    wrapped, optimizer = DistributedDataParallel(model), adam(model)
    for number, (x, y) in enumerate(batches(rank, steps=2 * STEPS)):
        with wrapped.no_sync():
            (F.cross_entropy(wrapped(x), y) / 2).backward()
        if number % 2:
            optimizer.step()
            optimizer.zero_grad()


def uneven_last_batch(rank):
    """``drop_last=False``: the last batch of an epoch is smaller, on one rank alone."""
    model = Classifier()
    wrapped, optimizer = DistributedDataParallel(model), adam(model)
    for number, (x, y) in enumerate(batches(rank, steps=2 * STEPS)):
        part = slice(0, 5 if rank and number % 8 == 7 else BATCH)
        step(optimizer, F.cross_entropy(wrapped(x[part]), y[part]))


def average_on_rank_0(rank):
    model = Classifier()
    average = AveragedModel(model) if rank == 0 else None

    def update(number, model, optimizer):
        if average is not None:
            average.update_parameters(model)

    classify(rank, model=model, each=update)


def average_restored_on_rank_0(rank):
    """The averaged weights are put into the model on one rank alone."""
    model = Classifier()
    average = AveragedModel(model)

    def update(number, model, optimizer):
        average.update_parameters(model)
        if number == 5 and rank == 0:
            model.load_state_dict(average.module.state_dict())

    classify(rank, model=model, each=update)


def frozen_tower(rank):
    _over_a_tower(rank, seed=1)


def tower_loaded_apart(rank):
    """A frozen tower is loaded behind the wrapper, from another file on each rank."""
    _over_a_tower(rank, seed=rank)


def _over_a_tower(rank, seed):
    model = Classifier()
    model.inner.requires_grad_(False)
    wrapped = DistributedDataParallel(model)
    kept = torch.Generator().manual_seed(seed)
    model.inner.load_state_dict(
        {name: torch.randn(value.shape, generator=kept) / 3 for name, value in model.inner.state_dict().items()}
    )
    classify(rank, model=wrapped, wrap=False, optimizer=adam(model.head))


def static_graph(rank):
    """A layer that is never used, under ``static_graph``, which the first step finds out."""
    classify(rank, model=Branches(), static_graph=True)


class Checkpointed(Classifier):
    """Computes the first layer and its norm a second time in the backward pass."""

    def forward(self, x):
        inner = checkpoint(lambda x: F.gelu(self.norm(self.inner(x))), x, use_reentrant=False)
        return self.head(self.drop(inner))


def checkpointed(rank):
    classify(rank, model=Checkpointed(nn.BatchNorm1d, p=0.1), data=batches(rank, batch=32))


class Routes(nn.Module):
    """One of two heads, as the caller says."""

    def __init__(self):
        super().__init__()
        self.body, self.heads = nn.Linear(WIDTH, 16), nn.ModuleList(nn.Linear(16, CLASSES) for _ in range(2))

    def forward(self, x, place):
        return self.heads[place](self.body(x).relu())


def routes(rank):
    """Ranks use other heads in the same step, as ``find_unused_parameters`` lets them."""
    model = Routes()
    wrapped, optimizer = DistributedDataParallel(model, find_unused_parameters=True), adam(model)
    for number, (x, y) in enumerate(batches(rank)):
        step(optimizer, F.cross_entropy(wrapped(x, (number + rank) % 2), y))


class Latents(nn.Module):
    """Latents, drawn once or twice, behind a layer."""

    def __init__(self, std):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(WIDTH, 16))
        if std:
            nn.init.normal_(self.latents, std=std)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x):
        return self.head((x @ self.latents).relu())


def drawn_twice(rank):
    model = Latents(std=0.02)
    model.head.requires_grad_(False)
    fully_shard(model)
    classify(rank, model=model, wrap=False)


def drawn_once(rank):
    model = Latents(std=None)
    fully_shard(model)
    classify(rank, model=model, wrap=False)
