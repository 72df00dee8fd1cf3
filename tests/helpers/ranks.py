"""Two processes train together, plain, with DDP or with FSDP2, recorded; readings go to a file per rank."""

import json
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
from torch import multiprocessing, nn
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F

from edgeglass_diag.record import Recorder
from edgeglass_diag.store import RunWriter


def model_of():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 5, bias=False))


def train(kind, rank, world):
    model = model_of()
    if kind == "ddp":
        trained = nn.parallel.DistributedDataParallel(model)
    else:
        trained = model
        if kind == "fsdp":
            fully_shard(model[0])
            fully_shard(model)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        x, y = torch.randn(8, 6, generator=generator), torch.randint(5, (8,), generator=generator)
        part = slice(rank * 8 // world, (rank + 1) * 8 // world)
        loss = F.cross_entropy(100 * trained(x[part]), y[part])
        loss.backward()
        nn.utils.clip_grad_norm_(trained.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()


def train_together(kind, world, folder):
    """Train in copies of this process, which must have no threads."""
    warnings.simplefilter("ignore")
    multiprocessing.start_processes(train_as_rank, (kind, world, folder), world, start_method="fork")


def train_as_rank(rank, kind, world, folder):
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world)
    windows = []
    with Recorder(lambda step: True, lambda w: windows.append(w.resolve())):
        train(kind, rank, world)
    content = {
        "readings": [[r.step, r.site, r.signal, list(r.values)] for w in windows for r in w.readings],
        "sites": [{"path": s.path, "coverage": s.coverage, **s.facts} for w in windows for s in w.sites],
    }
    (Path(folder) / f"{kind}-{rank}.json").write_text(json.dumps(content))
    out = Path(folder) / kind
    if rank:
        dist.barrier()  # the folder of the first rank holds those of the others
    writer = RunWriter(out / f"rank-{rank}" if rank else out, name=kind, header={"rank": rank})
    if world > 1 and not rank:
        dist.barrier()
    for window in windows:
        writer.write(window, [])
    writer.finish("finished", {})
    if world > 1:
        dist.destroy_process_group()
