"""Modes and tensor classes of the user see what they see without a watch, and run nothing for a measurement."""

from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from edgeglass_diag.record import Recorder
from edgeglass_diag.sites import Coverage
from tests.helpers.loops import record

SEEN = Counter()


def name_of(function):
    return getattr(function, "__name__", str(function))


class FunctionMode(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        SEEN[name_of(func)] += 1
        return func(*args, **(kwargs or {}))


class DispatchMode(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        SEEN[str(func)] += 1
        return func(*args, **(kwargs or {}))


class Tagged(torch.Tensor):
    """Sees each function of torch that it is given to, as a whole; multi-head attention too."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        SEEN[name_of(func)] += 1
        return super().__torch_function__(func, types, args, kwargs or {})


class Wrapped(torch.Tensor):
    """Computes by code of its own, which counts the operations."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, requires_grad=False)

    def __init__(self, inner):
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        SEEN[str(func)] += 1
        plain = [a.inner if isinstance(a, cls) else a for a in args]
        result = func(*plain, **(kwargs or {}))
        return cls(result) if isinstance(result, torch.Tensor) and str(func).startswith("aten.mul") else result


class Attends(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.mix = nn.Linear(8, 8), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        y = self.layer(x)
        return self.mix(y, y, y, need_weights=False)[0].softmax(-1) @ y.mT


def step(model, x, around=None):
    """Return the loss of one step, and what was seen of it."""
    SEEN.clear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    if around is None:
        loss = F.cross_entropy(model(x).flatten(0, 1), torch.arange(4).repeat(3))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    else:
        with around():
            return step(model, x)
    return float(loss.detach()), dict(SEEN)


@pytest.mark.parametrize("around", [FunctionMode, DispatchMode, None])
def test_modes_and_subclasses_see_the_users_operations_alone(around):
    def run():
        torch.manual_seed(0)
        x = torch.randn(3, 4, 8)
        return step(Attends(), x if around else x.as_subclass(Tagged), around)

    expected = run()
    result, got, _ = record(run)
    assert result == expected
    assert sum(expected[1].values()) > 3
    assert ("layer", "activation/rms") in got[0]


def test_a_mode_around_the_whole_watch_sees_the_users_operations_alone():
    def run():
        torch.manual_seed(0)
        return step(Attends(), torch.randn(3, 4, 8))

    with FunctionMode():
        expected = run()
        assert record(run)[0] == expected


def test_a_tensor_that_computes_by_code_of_its_own_is_not_measured_and_its_sites_say_so():
    class Doubles(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Identity()

        def forward(self, x):
            return self.inner(x * 2)

    def run():
        SEEN.clear()
        torch.manual_seed(0)
        layer, model = nn.Linear(3, 3), Doubles()
        layer(torch.ones(2, 3)).sum().backward()
        result = model(Wrapped(torch.ones(4, 3))).inner
        torch.optim.SGD(layer.parameters(), lr=0.1).step()
        return result, dict(SEEN)

    windows = []
    expected = run()
    with Recorder(lambda step: True, lambda window: windows.append(window.resolve())):
        result = run()
    assert torch.equal(result[0], expected[0])
    assert result[1] == expected[1] == {"aten.mul.Tensor": 1}
    coverage = {(site.path, site.kind): site.coverage for site in windows[0].sites}
    assert {coverage["Doubles", "module"], coverage["Identity", "module"], coverage["functions", "recorder"]} == {
        Coverage.FOREIGN_TENSOR
    }
    assert Coverage.RECORDER_FAILED not in coverage.values()


def test_a_parameter_that_computes_by_code_of_its_own_is_left_alone():
    class Held(nn.Parameter):
        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            SEEN[str(func)] += 1
            with torch._C._DisableTorchDispatch():
                return func(*args, **(kwargs or {}))

    def run():
        SEEN.clear()
        torch.manual_seed(0)
        layer = nn.Linear(3, 3)
        layer.weight = Held(layer.weight.detach().clone())
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, foreach=False)
        SEEN.clear()
        for _ in range(2):
            layer(torch.ones(2, 3)).square().sum().backward()
            optimizer.step()
        return layer.weight.detach().tolist(), dict(SEEN)

    expected = run()
    result, _, windows = record(run)
    assert result == expected
    coverage = {(site.path, site.kind): site.coverage for site in windows[0].sites}
    assert coverage["weight", "parameter"] is Coverage.FOREIGN_TENSOR
    assert coverage["bias", "parameter"] is Coverage.OBSERVED
