"""The profiler in the thread that trains: what fails in it ends no training."""

import pytest
import torch
from torch import nn

from edgeglass_diag.profiling.options import ProfileOptions
from edgeglass_diag.profiling.steps import StepProfiler


def test_a_trace_that_cannot_be_written_ends_no_training(tmp_path):
    (tmp_path / "taken").write_text("a file where the folder of the traces would be")
    model, steps, marker = nn.Linear(3, 3), 0, torch.autograd.profiler.record_function
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    profiler = StepProfiler(ProfileOptions(steps=1, skip=1), tmp_path / "taken", lambda: steps, lambda: "rank-0")
    with profiler:
        for _ in range(6):
            model(torch.ones(2, 3)).sum().backward()
            steps += 1  # as the recorder's hook counts them
            optimizer.step()
        with pytest.raises(RuntimeError, match="taken"):
            profiler.__exit__(None, None, None)
        profiler._problem = None
    assert torch.autograd.profiler.record_function is marker
