"""Small trainings of two ranks on gloo, each healthy or with one fault that only both ranks together show."""

import contextlib
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
from torch import multiprocessing, nn
from torch.distributed.algorithms.join import Join
from torch.distributed.fsdp import fully_shard
from torch.distributed.nn import functional as gathering
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import edgeglass_diag as eg

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
    "buffers_apart": ("EG824", {1}), "same_data": ("EG825", {0, 1}), "unequal_batches": ("EG826", {1}),
    "nan_on_rank_1": ("EG827", {1}), "norm_local": ("EG828", {0, 1}), "loss_divided_on_rank_1": ("EG829", {1}),
    "gather_without_gradient": ("EG830", {0, 1}), "gather_own_part": ("EG830", {0, 1}),
    "labels_without_offset": ("EG831", {1}), "local_negatives": ("EG832", {0, 1}),
}  # fmt: skip
"""By program: the code that names it, and the ranks that the finding gives."""

# Healthy programs


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
ALSO_HEALTHY = ("large_batch_norm", "full_loss_own_part", "momentum_encoder", "now_and_then")


def train_together(name, folder, options=None):
    """Run a program in two copies of this process, which must have no threads."""
    warnings.simplefilter("ignore")
    multiprocessing.start_processes(train_as_rank, (name, folder, options or {}), 2, start_method="fork")


def train_as_rank(rank, name, folder, options):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.manual_seed(0)
    out = Path(folder) / "run"
    watch = eg.watch(out=out, rank=rank, world_size=2, rules=["EG8"], should_raise=False, every=1, **options)
    dist.barrier()  # the folder of the first rank holds those of the others
    with watch:
        if name == "until_stopped":
            until_stopped(rank, watch)
        else:
            globals()[name](rank)
    dist.barrier()
    dist.destroy_process_group()
