"""The suite for an accelerator on the device there is: a watch changes no bit, and never waits for the device."""

import pytest
import torch

from edgeglass_diag.record import Recorder
from edgeglass_diag.sites import Coverage
from tests.gpu.kinds import KINDS, compare
from tests.gpu.programs import device, training
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
    if on.type == "cpu" and "compile" not in name:  # what inductor makes need not compute the same bits twice
        assert outcome.repeats


@pytest.mark.parametrize("every", WINDOWS.values(), ids=WINDOWS)
def test_the_training_thread_does_not_wait_for_the_device(every, on):
    if on.type != "cuda":
        pytest.skip("no CUDA device; tests/record/test_no_waiting.py asks it of tensors without values")
    assert waits(on, every) == []


def test_nothing_is_noted_while_a_cuda_graph_is_captured(monkeypatch, tmp_path):
    """What a capture launches runs at each replay and not now; that it is captured is all that is pretended here."""
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
    assert all(site.coverage is not Coverage.RECORDER_FAILED for window in windows for site in window.sites)
