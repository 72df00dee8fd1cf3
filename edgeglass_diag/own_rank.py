"""The rank of this process among those that train together."""

from __future__ import annotations

import os


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


def speaks() -> bool:
    """Return whether this process speaks for all: rank 0, and a process without a rank."""
    return known_rank() in (None, 0)
