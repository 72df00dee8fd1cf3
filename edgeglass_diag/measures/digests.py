"""Hashes of tensors by their bits: equal for equal tensors, and almost surely different for others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgeglass_diag.measures.batches import fingerprint, mixed

_WORD = 8
_LANES = 64


def digest(tensor: Tensor) -> Tensor:
    """Return the hash of a tensor's bits: 0-d in int64.

    The bits are read as 64-bit words in rows of 64. The sums of the columns modulo 2^64, each times a mixed position,
    are added. Integer sums do not depend on their order, and hence not on the number of threads. What is read is read
    once. Not seen are rows of 512 bytes that are exchanged, and changes whose sum in each column is exactly 0, as of
    two entries by one unit in the last place each: of weights that part, the next step changes more.

    Args:
        tensor: any shape, in memory as usual.

    Example:
        >>> first, second = torch.zeros(3), torch.tensor([0.0, 0.0, 1e-45])
        >>> bool(digest(first) == digest(first.clone())), bool(digest(first) == digest(second))
        (True, False)
    """
    values = tensor.detach().contiguous().reshape(-1)
    if values.storage_offset() * values.element_size() % _WORD:
        values = values.clone()
    size = values.numel() * values.element_size()
    whole = size // (_WORD * _LANES) * _LANES * _WORD // values.element_size()
    words = values[:whole].view(torch.int64).view(size // (_WORD * _LANES), _LANES).sum(0)
    rest = values[whole:].view(torch.uint8).long()
    lanes = torch.cat([words, rest, torch.full((1,), size, device=words.device)])  # a copy would wait for the device
    return (lanes * mixed(len(lanes), lanes.device)).sum()


def joint_digest(digests: Sequence[Tensor]) -> Tensor:
    """Return the hash of several hashes in their order: 0-d in float64, in [-1, 1).

    Args:
        digests: at least one, 0-d in int64, on one device.
    """
    return fingerprint(torch.stack(list(digests)))


def as_readings(digests: Sequence[Tensor]) -> Tensor:
    """Return hashes as numbers that a store keeps exactly: (len(digests),) in float64, in [-1, 1).

    Args:
        digests: at least one, 0-d in int64, on one device.
    """
    return (torch.stack(list(digests)) >> 11).double() / 2.0**52
