"""Exceptions that come from outside in the middle of the recorder's code: they arrive, and leave nothing behind."""

import functools
import itertools
import os
import signal
import sys

import pytest
import torch
from torch import nn
from torch.nn.modules import module as modules
from torch.optim import optimizer as optimizers
from torch.overrides import BaseTorchFunctionMode, _get_current_function_mode_stack

import edgeglass_diag.record
from edgeglass_diag.record import Recorder
from edgeglass_diag.record.boundary import Boundary
from edgeglass_diag.record.dispatch import Dispatch
from edgeglass_diag.record.event_sources import EventSources
from edgeglass_diag.record.function_mode import FunctionMode
from edgeglass_diag.record.losses import LossObserver
from edgeglass_diag.record.module_hooks import ModuleHooks
from edgeglass_diag.record.scaling import LossScaleObserver
from edgeglass_diag.record.signal_handlers import is_of_a_signal_handler
from edgeglass_diag.record.window_clock import WindowClock
from edgeglass_diag.sites import Coverage
from tests.helpers.loops import plain

FOLDER = os.path.dirname(edgeglass_diag.record.__file__)


class Preempted(Exception):  # noqa: N818  named as users do
    """Raised by a handler of the user."""


def preempt(*_):
    raise Preempted("time is over")


class Handlers:
    def method(self, number, frame):
        preempt()

    __call__ = method


HANDLERS = {
    "function": preempt,
    "method": Handlers().method,
    "callable": Handlers(),
    "partial": functools.partial(preempt, "SIGUSR1"),
}


@pytest.fixture(params=HANDLERS)
def handled(request):
    before = signal.signal(signal.SIGUSR1, HANDLERS[request.param])
    yield
    signal.signal(signal.SIGUSR1, before)


def state_of_torch():
    """Return what a recorder may change of torch, and of Python."""
    return (
        [dict(hooks) for name, hooks in vars(modules).items() if name.startswith("_global_") and hooks is not None],
        dict(optimizers._global_optimizer_pre_hooks), dict(optimizers._global_optimizer_post_hooks),
        _get_current_function_mode_stack(), torch.autograd.backward, torch.compile, torch.amp.GradScaler.step,
        torch.amp.GradScaler.scale, torch.is_grad_enabled(), torch._C._is_torch_function_enabled(),
        torch._dynamo.eval_frame.OptimizedModule.__call__, sys.getrecursionlimit(),
    )  # fmt: skip


def test_what_a_handler_raises_is_told_from_failures(handled):
    with pytest.raises(Preempted) as caught:
        signal.raise_signal(signal.SIGUSR1)
    assert is_of_a_signal_handler(caught.value)
    with pytest.raises(ZeroDivisionError) as caught:
        1 / 0  # noqa: B018
    assert not is_of_a_signal_handler(caught.value)


PLACES = [
    (Dispatch, "module_ends"),
    (FunctionMode, "attach"),
    (WindowClock, "cannot_observe_now"),  # a question
    (LossObserver, "window_ends"),  # called among others
    (ModuleHooks, "_call"),  # a block that measures
    (ModuleHooks, "detach"),  # called when sources are taken away
    (EventSources, "detach"),
    (Boundary, "failed"),
]


@pytest.mark.parametrize(("kind", "name"), PLACES)
def test_what_a_signal_handler_raises_in_the_recorder_arrives(monkeypatch, kind, name):
    called, original = itertools.count(), getattr(kind, name)
    body = original.fget if isinstance(original, property) else original

    def interrupted(self, *args):
        if torch.is_grad_enabled() == isinstance(original, property) and next(called) == 3:
            signal.raise_signal(signal.SIGUSR1)
        return body(self, *args)

    windows, before = [], state_of_torch()
    handler = signal.signal(signal.SIGUSR1, preempt)
    monkeypatch.setattr(kind, name, property(interrupted) if isinstance(original, property) else interrupted)
    if kind is Boundary:
        monkeypatch.setattr(LossScaleObserver, "window_ends", lambda self: 1 / 0)
    try:
        with Recorder(lambda step: True, windows.append):
            with pytest.raises(Preempted) as caught:
                plain(5)
            assert str(caught.value) == "time is over"
            assert torch.is_grad_enabled()
            plain(3)
    finally:
        signal.signal(signal.SIGUSR1, handler)
    assert state_of_torch() == before
    assert windows[-1].step > 1
    if kind is not Boundary:
        assert not [s for w in windows for s in w.sites if s.coverage is Coverage.RECORDER_FAILED]


def is_ours(frame):
    return frame.f_code.co_filename.startswith(FOLDER)


class Interrupt:
    """Raises KeyboardInterrupt at the n-th place of the recorder, and of what it calls, where Python looks for signals.

    So it does where a function begins, and where one written in C has returned.
    """

    def __init__(self, number):
        self.left, self.where = number, None

    def __call__(self, frame, event, argument):
        code = frame.f_code
        if event not in ("call", "c_return") or not any(map(is_ours, (frame, frame.f_back))):
            return
        if code.co_name != "<genexpr>":  # Python itself drops what is raised as it closes a generator
            self.left -= 1
            if self.left == 0:
                self.where = f"{os.path.basename(code.co_filename)}:{frame.f_lineno} {event}"
                raise KeyboardInterrupt


def interrupted(number, call):
    """Return where a call was interrupted, None where it was over before."""
    interrupt = Interrupt(number)
    try:
        sys.setprofile(interrupt)
        call()
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(None)
    return interrupt.where


@pytest.fixture
def mode_of_the_user():
    with BaseTorchFunctionMode():
        yield


@pytest.mark.usefixtures("mode_of_the_user")
@pytest.mark.parametrize("end", [False, True])
def test_an_interrupt_at_the_begin_or_the_end_leaves_nothing_behind(end):
    with Recorder(lambda step: True, lambda window: None):
        plain(1)
    before, wrong = state_of_torch(), {}
    for number in itertools.count(2):  # at the first place no line of the function itself has run
        recorder = Recorder(lambda step: True, lambda window: None)
        if end:
            recorder.__enter__()
        where = interrupted(number, lambda: recorder.__exit__(None, None, None) if end else recorder.__enter__())  # noqa: B023
        if where is None:
            break
        if state_of_torch() != before:
            wrong[where] = number
            torch._C._set_grad_enabled(True)
            recorder._windows.take_away()
    recorder._windows.take_away()
    assert wrong == {}
    assert number > 40


class Tree(nn.Module):
    """Calls itself."""

    def __init__(self):
        super().__init__()
        self.leaf = nn.Linear(4, 4)

    def forward(self, x, depth):
        return self.leaf(x) if depth == 0 else torch.tanh(self(x, depth - 1))


def deepest():
    """Return the greatest depth at which a model trains."""
    model = Tree()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def passes(depth):
        try:
            loss = model(torch.ones(2, 4), depth).sum()
        except RecursionError:
            return False
        loss.backward()
        optimizer.step()
        return True

    low, high = 8, sys.getrecursionlimit()
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if passes(middle) else (low, middle)
    return low


def test_a_deep_model_passes_where_it_does_unwatched_and_its_windows_are_left_out():
    expected, before, windows = deepest(), state_of_torch(), []
    with Recorder(lambda step: True, windows.append):
        assert expected <= deepest() <= expected + 2  # the limit is raised by whole frames
        assert plain(2)
    assert expected > 200
    assert state_of_torch() == before
    left_out = {s.path: s for w in windows for s in w.sites if s.coverage is Coverage.TOO_DEEP}
    assert left_out["depth"].detail == "more than 64 modules inside each other"
    assert not [s for w in windows for s in w.sites if s.coverage is Coverage.RECORDER_FAILED]
    assert not [w for w in windows[:3] if len(w.entries)]
    assert len(windows[-1].entries)


def test_watches_that_overlap_leave_nothing_behind():
    before = state_of_torch()
    one, other, third = (Recorder(lambda step: True, lambda window: None) for _ in range(3))
    one.__enter__()
    other.__enter__()
    plain(1)
    one.__exit__(None, None, None)
    third.__enter__()
    plain(1)
    other.__exit__(None, None, None)
    plain(1)
    third.__exit__(None, None, None)
    assert state_of_torch() == before
