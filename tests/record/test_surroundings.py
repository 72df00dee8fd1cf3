"""What else goes on in a process that trains: tracers, counters, threads, transforms, other watches."""

import threading

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from tests.helpers.loops import Two, clip, record, sides, train


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_frozen_tower_is_bit_identical_with_and_without_no_grad(gradients):
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval().requires_grad_(False)
    x = torch.randn(4, 9, 16)

    def run():
        with torch.set_grad_enabled(gradients):
            return layer(x)

    expected = run()
    assert torch.equal(record(run)[0], expected)


def test_a_watch_inside_of_a_watch_leaves_no_layers_behind():
    original = torch.autograd.backward
    (_, inner, _), outer, _ = record(lambda: record(lambda: train(60)))
    assert len(inner) == len(outer) == 60
    assert inner[-1]["", "loss/total"] == outer[-1]["", "loss/total"]
    assert torch.autograd.backward is original


def test_a_tracer_sees_only_the_users_functions():
    class Attends(nn.Module):
        def forward(self, x):
            return F.softmax(F.linear(x, torch.ones(4, 4)) @ x.mT, -1) @ x

    def names():
        return [node.name for node in torch.fx.symbolic_trace(Attends()).graph.nodes]

    assert record(names)[0] == names()


def test_a_counter_of_operations_counts_only_the_users():
    def count():
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        with FlopCounterMode(display=False) as counter:
            y = layer(torch.randn(4, 5, 8)).mean(1)
            F.cross_entropy(y @ y.T.detach(), torch.arange(4)).backward()
        return counter.get_total_flops()

    assert record(count)[0] == count()


@pytest.mark.parametrize("where", ["fake", "meta"])
def test_tensors_without_values_cost_no_window(where):
    model = Two()

    def aside():
        if where == "fake":
            with FakeTensorMode(allow_non_fake_inputs=True):
                model(*sides())
        else:
            Two().to("meta")(*(side.to("meta") for side in sides()))

    _, got, _ = record(lambda: train(3, aside, model))
    assert len(got) == 3
    assert all(("", "loss/total") in window for window in got)


def test_transforms_neither_use_up_the_window_nor_count_as_data():
    class Scale(nn.Module):
        def forward(self, x):
            return x / 2

    def transform():
        for _ in range(400):
            Scale()(torch.ones(3, 4, 4))

    _, got, _ = record(lambda: train(2, transform))
    assert all(("image", "activation/rms") in window and ("", "loss/total") in window for window in got)
    assert {site for site, signal in got[0] if signal == "data/samples"} == {"input0", "input1"}


def test_a_model_that_runs_in_another_thread_disturbs_nothing():
    other, stop = nn.Sequential(nn.Linear(8, 8), nn.ReLU()), threading.Event()

    def evaluate():
        while not stop.is_set():
            with torch.no_grad():
                other(torch.randn(4, 8))

    def loop():
        train(1)
        thread = threading.Thread(target=evaluate)
        thread.start()
        try:
            train(30)
        finally:
            stop.set()
            thread.join()

    _, got, _ = record(loop)
    assert all(("text", "activation/sample_signal") in window or ("Two.text", "activation/sample_signal") in window
               for window in got)  # fmt: skip


def test_an_interrupt_in_a_forward_pass_spoils_only_its_window():
    class Interrupted(nn.Linear):
        raises = True

        def forward(self, x):
            if self.raises:
                raise KeyboardInterrupt
            return super().forward(x)

    def loop():
        model = Two()
        model.image = Interrupted(8, 6)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(3):
            model.image.raises = step == 0
            try:
                clip(*model(*sides())).backward()
            except KeyboardInterrupt:
                clip(torch.randn(8, 6), model.text(torch.randn(8, 5))).backward()
            optimizer.step()

    _, got, _ = record(loop)
    assert all(("image", "activation/sample_signal") in window for window in got[1:])
    assert all(("input0", "data/samples") in window for window in got[1:])
