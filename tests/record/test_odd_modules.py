"""Modules, arguments and optimizers whose own methods raise, never end or have no hash: they train as unwatched."""

import dataclasses
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeglass_diag.record import Recorder
from edgeglass_diag.record.nested import tensors_in
from edgeglass_diag.sites import Coverage


class Raising:
    """Everything that may be asked of it raises."""

    def _raise(self, *_):
        raise RuntimeError("not to be asked")

    __eq__ = __len__ = __iter__ = __bool__ = __repr__ = __str__ = __getitem__ = __contains__ = _raise
    __hash__ = None


@dataclasses.dataclass
class ContrastiveLoss(nn.Module):
    scale: float = 10.0

    def __post_init__(self):
        super().__init__()

    def forward(self, image, text):
        return F.cross_entropy(self.scale * image @ text.T, torch.arange(len(image)))


class Odd(nn.Linear):
    """A layer whose methods other than ``forward`` raise, and whose equality is a tensor."""

    def __eq__(self, other):
        return torch.ones(2)

    __hash__ = None

    def parameters(self, recurse=True):
        raise RuntimeError("no parameters")

    def named_modules(self, *_, **__):
        raise RuntimeError("no names")

    def modules(self):
        raise RuntimeError("no modules")

    def __len__(self):
        raise RuntimeError("no length")

    def __bool__(self):
        raise RuntimeError("neither true nor false")

    def __repr__(self):
        raise RuntimeError("no words")

    def __getattr__(self, name):
        if name in ("weight", "bias"):
            return super().__getattr__(name)
        raise RuntimeError(name)


class Unfinished(nn.Module):
    """Its constructor is not done yet where it is called as a function."""

    def __init__(self):
        self.before = 1

    def __call__(self, x):
        return x


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.odd, self.plain, self.loss = Odd(4, 4), nn.Linear(4, 4), ContrastiveLoss()
        self.unfinished = [Unfinished()]

    def forward(self, x, *_, **__):
        if self.training:
            self.plain.weight = nn.Parameter(self.plain.weight.detach().clone())  # as some pruning does
        return self.loss(self.odd(self.unfinished[0](x)), self.plain(x))


class Forever(list):
    def __iter__(self):
        return itertools.count()


class Counts(dict):
    def values(self):
        return itertools.count()


def endless():
    loop = [torch.ones(2)]
    loop.append(loop)
    return loop, {"self": loop}


class Grouped(torch.optim.SGD):
    """Its groups can be read in its step alone."""

    is_open = True

    @property
    def param_groups(self):
        if not self.is_open:
            raise RuntimeError("closed")
        return self._groups

    @param_groups.setter
    def param_groups(self, groups):
        self._groups = groups

    def step(self, closure=None):
        self.is_open = True
        super().step(closure)
        self.is_open = False

    def zero_grad(self, set_to_none=True):
        self.is_open = True
        super().zero_grad(set_to_none)
        self.is_open = False


def train(optimizer=torch.optim.SGD, arguments=(), keywords=None):
    torch.manual_seed(0)
    model, x = Model(), torch.randn(3, 4)
    held = [*model.odd.__dict__["_parameters"].values(), model.plain.bias]
    stepping, losses = optimizer(held, lr=0.1), []
    schedule = torch.optim.lr_scheduler.StepLR(stepping, 1) if optimizer is torch.optim.SGD else None
    for _ in range(4):
        loss = model(x, *arguments, **(keywords or {}))
        losses.append(loss.item())
        loss.backward()
        stepping.step()
        stepping.zero_grad()
        if schedule is not None:
            schedule.step()
    return losses, [parameter.tolist() for parameter in held]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": Grouped},
        {"arguments": (Raising(), [Raising()])},
        {"arguments": (Forever([torch.ones(2)]), Counts(x=torch.ones(2)), *endless())},
        {"keywords": {"odd": Raising(), "endless": endless()}},
    ],
)
@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step")
def test_odd_things_train_as_unwatched(options):
    expected = train(**options)
    windows = []
    with Recorder(lambda step: True, lambda window: windows.append(window.resolve())):
        assert train(**options) == expected
    assert [window.step for window in windows[:4]] == [0, 1, 2, 3]
    signals = {(reading.site, reading.signal) for window in windows for reading in window.readings}
    assert {("odd", "activation/rms"), ("plain", "activation/rms"), ("", "loss/total")} <= signals
    failed = {site.path for window in windows for site in window.sites if site.coverage is Coverage.RECORDER_FAILED}
    assert failed == ({"optimizer"} if options.get("optimizer") is Grouped else set())


def test_a_module_without_a_hash_is_named_below_its_model():
    windows = []
    with Recorder(lambda step: True, lambda window: windows.append(window.resolve())):
        train()
    paths = {site.path for site in windows[0].sites if site.kind == "module"}
    assert {"", "odd", "plain", "loss"} <= paths or {"", "odd", "plain", "ContrastiveLoss"} <= paths
    assert {s.path for s in windows[0].sites if s.kind == "parameter"} >= {"odd.weight", "odd.bias", "plain.bias"}


def test_containers_are_looked_through_to_a_bound_and_by_no_method_of_their_own():
    first, second = torch.zeros(1), torch.ones(1)
    assert [id(t) for t in tensors_in([first, (1, {"a": second}), "text"])] == [id(first), id(second)]
    assert [id(t) for t in tensors_in((Forever([first]), Counts(a=second)))] == [id(first), id(second)]
    loop, mapping = endless()
    assert 1 < len(tensors_in((loop, mapping))) < 20
    assert tensors_in([*range(10**6), first]) == []
