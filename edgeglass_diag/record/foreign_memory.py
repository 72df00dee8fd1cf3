"""Memory that is not torch's, and batches that are put together of it."""

from __future__ import annotations

import sys
from types import FrameType

import torch
from torch import Tensor
from torch.utils.data._utils import fetch


def is_foreign_memory(tensor: Tensor) -> bool:
    """Return whether a tensor's memory is not torch's, as that of an array which ``from_numpy`` was given.

    Shared memory comes from a process that loads data.
    """
    if tensor.layout is not torch.strided or tensor.is_shared():  # type: ignore[no-untyped-call]
        return False
    return not tensor.untyped_storage().resizable()


def is_in_data_loader() -> bool:
    """Return whether a DataLoader puts a batch together, which is made of the data and not of what a model gave out."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_globals.get("__name__") == fetch.__name__:
            return True
        frame = frame.f_back
    return False
