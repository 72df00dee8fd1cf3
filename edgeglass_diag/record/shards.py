"""Which tensors have values here that can be measured, and which of them this process holds."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.parameter import Parameter, is_lazy

_TORCHS_OWN = frozenset({Tensor, Parameter})
_MEASURED = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


def is_foreign(tensor: Tensor) -> bool:
    """Whether a tensor computes by code of its own class (``__torch_dispatch__``), which is the user's to run.

    DTensor of torch is none: each process reads its own shard.
    """
    kind = type(tensor)
    if kind is Tensor or kind is Parameter or kind.__torch_dispatch__ is Tensor.__torch_dispatch__:
        return False
    distributed = sys.modules.get("torch.distributed.tensor")
    return distributed is None or not issubclass(kind, distributed.DTensor)


def is_unmade(tensor: Tensor) -> bool:
    """Whether a tensor has no shape yet, as the parameters of lazy modules."""
    kind = type(tensor)
    return kind is not Tensor and kind is not Parameter and is_lazy(tensor)


def is_measurable(tensor: Tensor) -> bool:
    """Whether a tensor has entries in memory as usual: not foreign, sparse, nested, empty or without shape."""
    if type(tensor) not in _TORCHS_OWN and (is_foreign(tensor) or is_unmade(tensor)):
        return False
    if tensor.layout != torch.strided or tensor.is_nested or tensor.is_quantized:
        return False
    return tensor.numel() > 0 and (tensor.dtype in _MEASURED or not tensor.is_floating_point())


def is_sharded(tensor: Tensor) -> bool:
    """Whether other processes hold other parts of this tensor."""
    if type(tensor) in _TORCHS_OWN:
        return False
    return any(placement.is_shard() for placement in getattr(tensor, "placements", ()))


def local_part(tensor: Tensor) -> Tensor:
    """The values in this process, detached: the shard of a DTensor, the stored values of a sparse tensor."""
    if type(tensor) in _TORCHS_OWN and tensor.layout is torch.strided and not tensor.is_complex():
        # As most are. Of gradients nothing is to be detached.
        return tensor if type(tensor) is Tensor and not tensor.requires_grad else tensor.detach()
    if tensor.is_sparse:
        return tensor.detach().coalesce().values()
    to_local = getattr(tensor, "to_local", None)
    part: Tensor = tensor.detach() if to_local is None else to_local().detach()
    return torch.view_as_real(part) if part.is_complex() else part


def local_parts(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return ``local_part`` of each, read where no gradients are recorded: what is whole and real is not detached."""
    own, whole = _TORCHS_OWN, torch.strided
    return [t if type(t) in own and t.layout is whole and not t.is_complex() else local_part(t) for t in tensors]
