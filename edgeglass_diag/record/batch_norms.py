"""How BatchNorm modules treat the batches that they are given."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgeglass_diag.record.module_tree import modules


def follows(module: _BatchNorm) -> bool:
    """Return whether a BatchNorm gives a batch a part in its running statistics, as in training."""
    moves = module.momentum is not None and 0 < module.momentum < 1
    return module.training and module.track_running_stats and moves


def takes_statistics_anew(model: nn.Module) -> bool:
    """Return whether a call of a model is there for its running statistics: averages without weights are being taken.

    ``torch.optim.swa_utils.update_bn`` sets the momentum to None for this; others, who set it to 1, take each batch
    for the whole.
    """
    norms = (part for part in modules(model) if isinstance(part, _BatchNorm) and part.training)
    return any(norm.momentum is None or norm.momentum == 1 for norm in norms)
