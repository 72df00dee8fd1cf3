"""The rank of a process, and the store of a child process inside of its run's folder."""

from __future__ import annotations

import os
from pathlib import Path

from edgeglass_diag.programs.options import ProcessOptions
from edgeglass_diag.rank_store import open_rank_store
from edgeglass_diag.rules.choice import header_of
from edgeglass_diag.store import RunWriter


def known_rank() -> int | None:
    """Return the rank by torch.distributed if initialised, else by the environment, None if neither has one."""
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank()
    text = os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or ""
    return int(text) if text.isdecimal() else None


def known_world_size() -> int | None:
    """Return the number of ranks by torch.distributed if initialised, else by the environment, None if unknown."""
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    text = os.environ.get("WORLD_SIZE") or ""
    return int(text) if text.isdecimal() else None


def open_store(options: ProcessOptions, rank: int | None) -> RunWriter:
    """Open the store of a child process inside of the run's folder."""
    about = {"every": options.every, "world_size": known_world_size(), **header_of(options.configured_rules())}
    return open_rank_store(Path(options.out), rank, {**about, **options.header})
