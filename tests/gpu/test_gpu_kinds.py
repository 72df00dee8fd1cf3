"""The suite for an accelerator on the device there is: a watch changes no bit, and never waits for the device."""

import pytest
import torch

from tests.gpu.kinds import KINDS, compare
from tests.gpu.programs import device
from tests.gpu.waiting import WINDOWS, waits

_QUICK = ("bf16 autocast", "fp16 GradScaler", "AdamW fused", "channels_last")


@pytest.fixture
def on():
    return device()


@pytest.mark.filterwarnings("ignore")  # those of torch.compile itself, which vary
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in _QUICK else pytest.mark.long) for name in KINDS]
)
def test_a_watched_training_is_bit_identical(name, on):
    kind = KINDS[name]
    if kind.cuda and on.type != "cuda":
        pytest.skip(f"{name}: no CUDA device")
    outcome = compare(kind, on)
    assert outcome.is_well, outcome.text
    if on.type == "cpu":
        assert outcome.repeats


@pytest.mark.parametrize("every", WINDOWS.values(), ids=WINDOWS)
def test_the_training_thread_does_not_wait_for_the_device(every, on):
    assert waits(on, every) == []


def test_a_wait_of_the_recorder_is_told(on, monkeypatch):
    from edgeglass_diag.record.activations import ActivationObserver

    original = ActivationObserver.module_ends

    def waiting(self, call):
        for tensor in call.made:
            tensor.sum().item()
        original(self, call)

    monkeypatch.setattr(ActivationObserver, "module_ends", waiting)
    found = waits(on, 1)
    assert found
    if on.type == "cpu":
        # The recorder's own line is the last one above a function that stands outside of it.
        assert all("_local_scalar_dense" in each for each in found)


def test_nothing_is_noted_while_a_cuda_graph_is_captured(monkeypatch, tmp_path):
    """What a capture launches runs at each replay and not now; that it is captured is all that is pretended here."""
    from edgeglass_diag.record import Recorder
    from tests.gpu.programs import training

    made, windows, capturing = training(torch.device("cpu")), [], []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: bool(capturing))
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with Recorder(lambda step: True, lambda window: windows.append(window.resolve())):
        made.step()
        capturing.append(True)
        made.step()
        capturing.clear()
        made.step()
    assert [window.step for window in windows] == [0, 1]
    assert all(site.coverage != "recorder_failed" for window in windows for site in window.sites)
