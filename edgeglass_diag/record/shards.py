"""Which tensors have values here that can be measured, and which of them this process holds."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

_MEASURED = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


def is_measurable(tensor: Tensor) -> bool:
    """Whether a tensor has entries in memory as usual: not sparse, nested, quantised, empty or still without shape."""
    if is_lazy(tensor) or tensor.layout != torch.strided or tensor.is_nested or tensor.is_quantized:
        return False
    return tensor.numel() > 0 and (tensor.dtype in _MEASURED or not tensor.is_floating_point())


def is_sharded(tensor: Tensor) -> bool:
    """Whether other processes hold other parts of this tensor."""
    return any(placement.is_shard() for placement in getattr(tensor, "placements", ()))


def local_part(tensor: Tensor) -> Tensor:
    """The values in this process, detached: the shard of a DTensor, the stored values of a sparse tensor."""
    if tensor.is_sparse:
        return tensor.detach().coalesce().values()
    to_local = getattr(tensor, "to_local", None)
    part: Tensor = tensor.detach() if to_local is None else to_local().detach()
    return torch.view_as_real(part) if part.is_complex() else part
