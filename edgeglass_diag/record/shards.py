"""What a process holds of a tensor that is spread over several (FSDP2, tensor parallelism: DTensor)."""

from __future__ import annotations

from torch import Tensor


def is_sharded(tensor: Tensor) -> bool:
    """Whether other processes hold other parts of this tensor."""
    return any(placement.is_shard() for placement in getattr(tensor, "placements", ()))


def local_part(tensor: Tensor) -> Tensor:
    """The values in this process, detached: the shard of a DTensor, the stored values of a sparse tensor."""
    if tensor.is_sparse:
        return tensor.detach().coalesce().values()
    to_local = getattr(tensor, "to_local", None)
    part: Tensor = tensor.detach() if to_local is None else to_local().detach()
    return part
