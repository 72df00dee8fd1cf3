"""Small trainings of two ranks on gloo, each healthy or with one fault that only both ranks together show."""

import os
import signal
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
from torch import multiprocessing, nn
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import edgeglass_diag as eg
from tests.helpers import rank_healthy, rank_usual
from tests.helpers.rank_models import (
    BATCH,
    CLASSES,
    WIDTH,
    Branches,
    Classifier,
    adam,
    batches,
    classify,
    contrast,
    step,
    with_gradient,
    with_own_part,
    without_gradient,
)


def weights_never_averaged(rank):
    """The wrapper is bypassed: model.module is called."""
    wrapped, optimizer = DistributedDataParallel(Classifier()), None
    optimizer = adam(wrapped)
    for x, y in batches(rank):
        step(optimizer, F.cross_entropy(wrapped.module(x), y))


def other_seeds(rank):
    """Models begin with seeds of their own, and gradients are averaged by hand."""
    torch.manual_seed(rank)
    model = Classifier()
    optimizer = adam(model)
    for x, y in batches(rank):
        F.cross_entropy(model(x), y).backward()
        for parameter in model.parameters():
            dist.all_reduce(parameter.grad)
            parameter.grad /= 2
        optimizer.step()
        optimizer.zero_grad()


def unused_parameter(rank):
    """pytorch/pytorch#128949: a bucket with a parameter that is never used is never reduced, and the step is taken."""
    model = Branches()
    wrapped = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    x, _ = next(batches(rank))
    step(optimizer, wrapped(x).square().mean())


def state_on_rank_0(rank):
    """vllm-project/speculators#926: one rank alone loads the checkpoint, here of the optimizer."""
    model = Classifier()
    optimizer = adam(model)
    if rank == 0:
        kept = {"step": torch.tensor(3.0)}
        moments = [
            {"exp_avg": torch.full_like(p, 0.1), "exp_avg_sq": torch.full_like(p, 0.1)} for p in model.parameters()
        ]
        checkpoint = optimizer.state_dict() | {"state": {place: kept | own for place, own in enumerate(moments)}}
        optimizer.load_state_dict(checkpoint)
    classify(rank, model=model, optimizer=optimizer)


def scheduler_on_rank_0(rank):
    def decay(number, model, optimizer):
        if rank == 0:
            optimizer.param_groups[0]["lr"] *= 0.9

    classify(rank, each=decay)


def scaler_differs(rank):
    """The loss scale of one rank is twice that of the other."""
    model = Classifier()
    wrapped, optimizer = DistributedDataParallel(model), adam(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**4 if rank else 2.0**3)
    for x, y in batches(rank):
        scaler.scale(F.cross_entropy(wrapped(x), y)).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()


def step_left_out_on_rank_1(rank):
    """Each rank decides by its own loss whether to step."""
    model = Classifier()
    wrapped, optimizer = DistributedDataParallel(model), adam(model)
    for number, (x, y) in enumerate(batches(rank)):
        F.cross_entropy(wrapped(x), y).backward()
        if rank == 0 or number != 4:
            optimizer.step()
        optimizer.zero_grad()


def scaler_skips_on_rank_1(rank):
    """Gradients are averaged by hand, and a loss scaler meets an infinite one on one rank alone."""
    model = Classifier()
    optimizer, scaler = adam(model), torch.amp.GradScaler("cpu", init_scale=2.0**4)
    for number, (x, y) in enumerate(batches(rank)):
        scaler.scale(F.cross_entropy(model(x), y)).backward()
        for parameter in model.parameters():
            dist.all_reduce(parameter.grad)
            parameter.grad /= 2
        if rank == 1 and number == 4:
            model.head.bias.grad[0] = float("inf")
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()


def weights_restored_on_one_rank(rank):
    def restore(number, model, optimizer):
        if rank == 1 and number == 7:
            with torch.no_grad():
                model.head.weight.mul_(0.5)

    classify(rank, each=restore)


def buffers_apart(rank):
    classify(rank, model=Classifier(nn.BatchNorm1d), broadcast_buffers=False)


def same_data(rank):
    classify(rank, data=batches(rank, seed=3))


def nan_on_rank_1(rank):
    def data():
        for number, (x, y) in enumerate(batches(rank)):
            yield (x * float("nan") if rank == 1 and number == 3 else x), y

    classify(rank, data=data())


def unequal_batches(rank):
    classify(rank, data=batches(rank, batch=BATCH // (1 + rank)))


def norm_local(rank):
    classify(rank, model=Classifier(nn.BatchNorm1d), data=batches(rank, batch=4))


def loss_divided_on_rank_1(rank):
    classify(rank, scale=0.5 if rank else 1.0)


def gather_without_gradient(rank):
    contrast(rank, without_gradient)


def gather_own_part(rank):
    contrast(rank, with_own_part)


def labels_without_offset(rank):
    contrast(rank, with_gradient, offset=False)


def local_negatives(rank):
    contrast(rank, None, local=True)


FAULTS = {
    "weights_never_averaged": ("EG820", {1}), "other_seeds": ("EG820", {1}), "unused_parameter": ("EG821", {1}),
    "state_on_rank_0": ("EG822", {1}), "scheduler_on_rank_0": ("EG823", {1}), "scaler_differs": ("EG823", {1}),
    "step_left_out_on_rank_1": ("EG833", {1}), "scaler_skips_on_rank_1": ("EG833", {1}),
    "weights_restored_on_one_rank": ("EG820", {1}),
    "buffers_apart": ("EG824", {1}), "same_data": ("EG825", {0, 1}), "unequal_batches": ("EG826", {1}),
    "nan_on_rank_1": ("EG827", {1}), "norm_local": ("EG828", {0, 1}), "loss_divided_on_rank_1": ("EG829", {1}),
    "gather_without_gradient": ("EG830", {0, 1}), "gather_own_part": ("EG830", {0, 1}),
    "joined_epochs": ("EG822", {1}), "never_synchronised": ("EG820", {1}), "tower_loaded_apart": ("EG820", {1}),
    "average_restored_on_rank_0": ("EG820", {1}), "labels_without_offset": ("EG831", {1}),
    "local_negatives": ("EG832", {0, 1}),
}  # fmt: skip
"""By program: the code that names it, and the ranks that the finding gives."""

MANY = 100_000


def until_stopped(rank, watch):
    """The wrapper is bypassed until the watch of the first rank has a reason to stop."""
    wrapped = DistributedDataParallel(Classifier())
    optimizer = adam(wrapped)
    for x, y in batches(rank, steps=MANY):
        step(optimizer, F.cross_entropy(wrapped.module(x), y))
        stops = torch.tensor(float(watch.stop is not None))
        dist.all_reduce(stops)
        if stops:
            return


HEALTHY = (
    "ddp", "fsdp2", "gathered_negatives", "accumulation", "uneven_with_join", "sync_batch_norm", "moving_average",
    "zero_redundancy", "dropout_per_rank", "augmented_per_rank",
)  # fmt: skip
ALSO_HEALTHY = (
    "large_batch_norm", "full_loss_own_part", "momentum_encoder", "now_and_then", "far_apart_with_join",
    "scaler_skips_together", "two_models", "joined_epochs_without_state", "uneven_last_batch", "average_on_rank_0",
    "frozen_tower", "static_graph", "checkpointed", "routes",
)  # fmt: skip


class Masked(nn.Module):
    """A layer of which the later units are masked, half of them or all."""

    def __init__(self, share):
        super().__init__()
        self.layer, self.head = nn.Linear(WIDTH, 16), nn.Linear(16, CLASSES)
        self.register_buffer("mask", (torch.arange(16) >= share * 16).flip(0).float())

    def forward(self, x):
        return self.head(self.mask * self.layer(x).relu())


def half_without_gradient(rank):
    model = Masked(0.5)
    fully_shard(model)
    classify(rank, model=model, wrap=False)


def whole_without_gradient(rank):
    model = Masked(1.0)
    fully_shard(model)
    classify(rank, model=model, wrap=False)


def end_on_rank_1(how, folder):
    """Train in two copies of this process until the second raises, or is killed."""
    warnings.simplefilter("ignore")
    asked = (how, folder, {})
    started = multiprocessing.start_processes(train_as_rank, asked, 2, join=False, daemon=False, start_method="fork")
    for process in started.processes:
        process.join()


def raises(rank):
    def fatal():
        raise ValueError("label 17 is out of bounds")

    _end(rank, fatal=fatal)


def is_killed(rank):
    _end(rank, fatal=lambda: os.kill(os.getpid(), signal.SIGKILL))


def are_killed(rank):
    _end(rank, fatal=lambda: os.kill(os.getpid(), signal.SIGKILL), on=(0, 1))


def _end(rank, *, fatal, on=(1,)):
    model = Classifier()
    wrapped, optimizer = DistributedDataParallel(model), adam(model)
    for number, (x, y) in enumerate(batches(rank)):
        if rank in on and number == 5:
            fatal()
        step(optimizer, F.cross_entropy(wrapped(x), y))


def train_together(name, folder, options=None):
    """Run a program in two copies of this process, which must have no threads."""
    warnings.simplefilter("ignore")
    Path(folder).mkdir(exist_ok=True)
    multiprocessing.start_processes(train_as_rank, (name, folder, options or {}), 2, start_method="fork")


def _program(name):
    return next(found for of in (globals(), vars(rank_usual), vars(rank_healthy)) if (found := of.get(name)))


def train_as_rank(rank, name, folder, options):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.manual_seed(0)
    out = Path(folder) / "run"
    watch = eg.watch(out=out, rank=rank, world_size=2, should_raise=False, every=1, **{"rules": ["EG8"], **options})
    dist.barrier()  # the folder of the first rank holds those of the others
    with watch:
        if name == "until_stopped":
            until_stopped(rank, watch)
        else:
            _program(name)(rank)
    dist.barrier()
    dist.destroy_process_group()
