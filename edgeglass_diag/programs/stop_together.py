"""End a training of several processes in all of them after the same optimizer step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from edgeglass_diag.process import StopTraining
from edgeglass_diag.watching import Watch


@contextmanager
def stopping_together(watch: Watch) -> Iterator[None]:
    """Raise StopTraining in all ranks after the first step at which the watch of one of them is to stop.

    One that stopped alone would leave the others waiting in a collective call. It costs one of a number per step.
    """

    def ask_all(optimizer: Optimizer, *_: Any) -> None:
        device = optimizer.param_groups[0]["params"][0].device
        wanted = torch.tensor(int(watch.stop is not None), device=device)
        torch.distributed.all_reduce(wanted, torch.distributed.ReduceOp.MAX)
        if wanted:
            raise (
                StopTraining("stopped on a finding of another rank")
                if watch.stop is None
                else StopTraining.on(watch.stop)
            )

    handle = register_optimizer_step_post_hook(ask_all)
    try:
        yield
    finally:
        handle.remove()
