"""torch.compile before and after the watch begins: compiled once, and what it hides is said."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from edgeglass_diag.record import Recorder
from edgeglass_diag.sites import Coverage


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.inner(x).relu())


@pytest.fixture
def compilations():
    torch._dynamo.reset()
    count = []

    def backend(graph, inputs):
        count.append(graph)
        return graph.forward

    yield count, backend
    torch._dynamo.reset()


def train(compiled, parameters, steps=12):
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    losses = []
    for step in range(steps):
        loss = compiled(torch.full((3, 4), float(step))).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_compiled_module_compiles_once_and_its_border_is_observed(compilations, when):
    count, backend = compilations
    model, windows = Net(), []
    compiled = torch.compile(model, backend=backend, fullgraph=True) if when == "before" else None
    with Recorder(lambda step: step % 3 == 0, lambda w: windows.append(w.resolve())):
        if when == "after":
            compiled = torch.compile(model, backend=backend, fullgraph=True)
        losses = train(compiled, model.parameters())
    assert len(count) == 1
    sites = {(s.path, s.kind): s.coverage for w in windows for s in w.sites}
    assert sites["inner", "module"] == sites["head", "module"] == Coverage.COMPILED
    got = [{(r.site, r.signal): r.values for r in w.readings} for w in windows]
    assert [w["", "loss/total"][0] for w in got] == pytest.approx(losses[::3])
    assert all(("", "activation/rms") in w and ("inner.weight", "gradient/norm") in w for w in got)


def test_a_compiled_module_trains_as_unwatched(compilations):
    _, backend = compilations

    def run():
        torch.manual_seed(0)
        model = Net()
        return train(torch.compile(model, backend=backend), model.parameters())

    expected = run()
    with Recorder(lambda step: True, lambda w: None):
        assert run() == expected


def test_module_compile_is_compiled_once_and_its_inside_is_said_to_be_unseen(compilations):
    count, backend = compilations
    model, windows = Net(), []
    model.compile(backend=backend)
    with Recorder(lambda step: step % 3 == 0, lambda w: windows.append(w.resolve())):
        train(model, model.parameters())
    assert len(count) == 1
    sites = {(s.path, s.kind): s.coverage for w in windows for s in w.sites}
    assert sites["", "module"] == sites["inner", "module"] == Coverage.COMPILED


def test_a_compiled_function_is_compiled_once(compilations):
    count, backend = compilations
    model, windows = Net(), []
    with Recorder(lambda step: step % 3 == 0, lambda w: windows.append(w.resolve())):
        train(torch.compile(lambda x: model(x), backend=backend, fullgraph=True), model.parameters())
    assert len(count) == 1
    sites = {(s.path, s.kind): s.coverage for w in windows for s in w.sites}
    assert sites["inner", "module"] is Coverage.COMPILED


def test_everything_is_put_back():
    from torch._dynamo.eval_frame import OptimizedModule, _TorchDynamoContext

    originals = torch.compile, OptimizedModule.__call__, torch.autograd.backward, torch.amp.GradScaler.step
    with Recorder(lambda step: True, lambda w: None):
        pass
    assert (torch.compile, OptimizedModule.__call__, torch.autograd.backward, torch.amp.GradScaler.step) == originals
    assert "enter_exit_hooks" not in vars(_TorchDynamoContext)


def test_watching_does_not_import_the_compiler():
    code = "import edgeglass_diag.watching, sys; print('torch._dynamo' in sys.modules, 'sympy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
