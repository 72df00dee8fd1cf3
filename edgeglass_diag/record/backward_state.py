"""Whether a backward pass is running."""

from __future__ import annotations

import torch


class BackwardState:
    """Whether a backward pass is running; ``torch.autograd.grad`` is none.

    Attributes:
        is_running: whether.
        has_run: whether one has begun since the watch did.
    """

    def __init__(self) -> None:
        self.is_running = self.has_run = False

    def end_outside(self) -> None:
        """Take note that none is running where autograd is not, whatever was missed of the end of the last."""
        self.is_running = self.is_running and torch._C._current_graph_task_id() != -1
