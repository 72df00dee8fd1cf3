"""Small trainings of two ranks on gloo that are healthy."""

import contextlib

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.join import Join
from torch.distributed.fsdp import fully_shard
from torch.distributed.nn import functional as gathering
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from tests.helpers.rank_models import (
    BATCH,
    STEPS,
    Classifier,
    Towers,
    adam,
    batches,
    classify,
    contrast,
    step,
    with_gradient,
    with_own_part,
    without_gradient,
)


def ddp(rank):
    classify(rank)


def fsdp2(rank):
    model = Classifier()
    fully_shard(model.inner)
    fully_shard(model)
    classify(rank, model=model, wrap=False)


def gathered_negatives(rank):
    contrast(rank, with_gradient)


def accumulation(rank):
    model = Classifier()
    wrapped, optimizer = DistributedDataParallel(model), adam(model)
    for number, (x, y) in enumerate(batches(rank, steps=2 * STEPS)):
        is_last = number % 2 == 1
        with contextlib.nullcontext() if is_last else wrapped.no_sync():
            (F.cross_entropy(wrapped(x), y) / 2).backward()
        if is_last:
            optimizer.step()
            optimizer.zero_grad()


def uneven_with_join(rank):
    model = Classifier()
    wrapped, optimizer = DistributedDataParallel(model), adam(model)
    with Join([wrapped]):
        for number, (x, y) in enumerate(batches(rank, steps=STEPS - rank)):
            part = slice(0, 5 if rank == 0 and number == STEPS - 1 else BATCH)
            step(optimizer, F.cross_entropy(wrapped(x[part]), y[part]))


def far_apart_with_join(rank):
    """One rank takes five steps fewer, and none of its steps is compared with another."""
    model = Classifier()
    wrapped, optimizer = DistributedDataParallel(model), adam(model)
    with Join([wrapped]):
        for x, y in batches(rank, steps=STEPS - 5 * rank):
            step(optimizer, F.cross_entropy(wrapped(x), y))


def scaler_skips_together(rank):
    """A loss scaler that begins too large skips the first steps, on all ranks alike."""
    model = Classifier()
    wrapped, optimizer = DistributedDataParallel(model), adam(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    for x, y in batches(rank):
        scaler.scale(F.cross_entropy(wrapped(x), y)).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()


def two_models(rank):
    """Two models of their own, of which the second steps every other time."""
    first, second = Classifier(), Classifier()
    both = [(DistributedDataParallel(model), adam(model)) for model in (first, second)]
    for number, (x, y) in enumerate(batches(rank)):
        for wrapped, optimizer in both[: 1 + number % 2]:
            step(optimizer, F.cross_entropy(wrapped(x), y))


def sync_batch_norm(rank):
    classify(rank, model=Classifier(SynchronisedNorm), data=batches(rank, batch=4))


class SynchronisedNorm(nn.BatchNorm1d):
    """SyncBatchNorm of torch takes GPUs alone; this one takes the statistics of all ranks on a CPU."""

    def forward(self, x):
        whole = torch.cat(gathering.all_gather(x))
        return F.batch_norm(
            whole, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
        ).chunk(2)[dist.get_rank()]


def large_batch_norm(rank):
    """BatchNorm with 32 samples a rank, whose running statistics the wrapper broadcasts."""
    classify(rank, model=Classifier(nn.BatchNorm1d), data=batches(rank, batch=32))


def moving_average(rank):
    model = Classifier()
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    classify(rank, model=model, each=lambda number, model, optimizer: average.update_parameters(model))


def zero_redundancy(rank):
    from torch.distributed.optim import ZeroRedundancyOptimizer  # warns of what it is made with

    model = Classifier()
    optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW, lr=1e-2)
    classify(rank, model=model, optimizer=optimizer)


def dropout_per_rank(rank):
    torch.manual_seed(100 + rank)
    model = Classifier(p=0.3)
    classify(rank, model=model)


def augmented_per_rank(rank):
    torch.manual_seed(100 + rank)
    classify(rank, data=((x + torch.randn_like(x), y) for x, y in batches(rank)))


def full_loss_own_part(rank):
    """Every rank computes all rows: own features with a gradient, those of others without."""
    model = Towers()
    wrapped, optimizer = DistributedDataParallel(model), adam(model)
    for x, _ in batches(rank):
        image, text = (with_own_part(side, rank) for side in wrapped(x, x + 0.1 * torch.randn_like(x)))
        logits = 5 * image @ text.T
        labels = torch.arange(len(logits))
        step(optimizer, (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2)


def momentum_encoder(rank):
    """MoCo v3: rows against gathered keys of a momentum encoder, which carry no gradient."""
    model, slow = Classifier(), Classifier()
    slow.load_state_dict(model.state_dict())
    for parameter in slow.parameters():
        parameter.requires_grad_(False)
    wrapped, optimizer = DistributedDataParallel(model), adam(model)
    for x, _ in batches(rank):
        one, other = x + 0.1 * torch.randn_like(x), x + 0.1 * torch.randn_like(x)
        labels, loss = torch.arange(len(x)) + rank * len(x), 0
        queries = wrapped(torch.cat([one, other])).chunk(2)
        with torch.no_grad():
            for key, fast in zip(slow.parameters(), model.parameters(), strict=True):
                key.lerp_(fast, 0.01)
            keys = [without_gradient(F.normalize(slow(view), dim=-1), rank) for view in (one, other)]
        for query, key in zip(queries, reversed(keys), strict=True):
            loss = loss + F.cross_entropy(F.normalize(query, dim=-1) @ key.T / 0.2, labels)
        step(optimizer, loss)


def now_and_then(rank):
    """Local SGD: weights are averaged after every third step."""

    def average(number, model, optimizer):
        if number % 3 == 2:
            with torch.no_grad():
                for parameter in model.parameters():
                    dist.all_reduce(parameter)
                    parameter /= 2

    classify(rank, wrap=False, each=average)
