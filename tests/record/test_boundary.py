"""What passes the boundary and what does not."""

import pytest
import torch
from torch import nn

from edgeglass_diag.process import StopTraining
from edgeglass_diag.record import Recorder
from edgeglass_diag.record.boundary import MOST_FAILURES
from edgeglass_diag.record.function_mode import FunctionMode
from edgeglass_diag.record.module_hooks import ModuleHooks
from edgeglass_diag.sites import Coverage


def train(steps=3, model=None):
    model = model or nn.Linear(3, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        model(torch.ones(2, 3)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def failures(windows):
    return {s.path: s.detail for w in windows for s in w.sites if s.coverage is Coverage.RECORDER_FAILED}


@pytest.mark.parametrize("raised", [StopTraining("enough"), KeyboardInterrupt("Ctrl-C")])
def test_what_is_no_exception_passes_and_leaves_all_in_order(raised):
    windows = []

    def sink(window):
        windows.append(window)
        if window.step == 1:
            raise raised

    recorder = Recorder(lambda step: True, sink)
    with recorder:
        with pytest.raises(type(raised)) as caught:
            train(4)
        assert caught.value is raised
        assert torch.is_grad_enabled()
        train(2)
    assert [window.step for window in windows] == [0, 1, 2]  # a second optimizer takes over with its second step
    assert failures(windows) == {}


def test_a_sink_that_fails_is_noted_and_its_sites_come_with_the_next_window():
    windows = []

    def sink(window):
        if window.step == 0:
            raise OSError("disk full")
        windows.append(window)

    with Recorder(lambda step: True, sink):
        train()
    assert [window.step for window in windows] == [1, 2]
    assert failures(windows[:1]) == {"sink": "OSError: disk full"}
    assert "weight" in {site.path for site in windows[0].sites}


def test_a_source_that_cannot_be_put_in_place_costs_its_window(monkeypatch):
    windows, attach, calls = [], FunctionMode.attach, []

    def fails_once(mode):
        calls.append(mode)
        if len(calls) == 2:
            raise RuntimeError("no place")
        attach(mode)

    monkeypatch.setattr(FunctionMode, "attach", fails_once)
    with Recorder(lambda step: True, windows.append):
        train(4)
    assert [window.step for window in windows] == [0, 2, 3]
    assert failures(windows) == {"sources": "RuntimeError: no place"}


def test_a_source_that_cannot_be_taken_away_closes_the_boundary(monkeypatch):
    windows, detach = [], ModuleHooks.detach

    def fails(hooks):
        if recorder.boundary.is_closed:
            detach(hooks)
        raise RuntimeError("it stays")

    recorder = Recorder(lambda step: True, windows.append)
    monkeypatch.setattr(ModuleHooks, "detach", fails)
    with recorder:
        train(4)
    assert recorder.boundary.is_closed
    said = "RuntimeError: nothing more is recorded after what cannot be taken away from torch, RuntimeError: it stays"
    assert failures(windows) == {"sources": "RuntimeError: it stays", "recorder": said}
    assert sum(len(window.entries) for window in windows[1:]) == 0


def test_many_failures_close_the_boundary(monkeypatch):
    windows, calls = [], []

    def fails(*_):
        calls.append(1)
        raise ArithmeticError("no path")

    monkeypatch.setattr(ModuleHooks, "enter", fails)
    with Recorder(lambda step: True, windows.append):
        train(2 * MOST_FAILURES)
    assert len(calls) == MOST_FAILURES
    assert len(windows) == MOST_FAILURES
    said = f"RuntimeError: nothing more is recorded after {MOST_FAILURES} failures, the last ArithmeticError: no path"
    assert failures(windows) == {"modules": "ArithmeticError: no path", "recorder": said}
