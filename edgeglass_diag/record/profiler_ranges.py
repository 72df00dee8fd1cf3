"""Ranges in the trace of a torch profiler that runs during the watch: forward, backward, the recorder's own work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch.profiler import record_function

FORWARD = "edgeglass_diag: forward"
FORWARD_WITHOUT_GRADIENTS = "edgeglass_diag: forward without gradients"
BACKWARD = "edgeglass_diag: backward"
RECORDER = "edgeglass_diag: recorder"


_NONE = nullcontext()

is_profiled: Callable[[], bool] = torch._C._autograd._profiler_enabled
"""Whether a profiler runs: a single question."""


def span(name: str) -> AbstractContextManager[object]:
    """A block that a running profiler shows under this name; without one it costs a single question."""
    return record_function(name) if is_profiled() else _NONE
