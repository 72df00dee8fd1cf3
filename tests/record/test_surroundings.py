"""What else goes on in a process that trains: tracers, counters, threads, transforms, other watches."""

import threading

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from edgeglass_diag.record import Recorder


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.image, self.text = nn.Linear(8, 6), nn.Linear(5, 6)

    def forward(self, x, t):
        return F.normalize(self.image(x), dim=-1), F.normalize(self.text(t), dim=-1)


def clip(image, text):
    return F.cross_entropy(10.0 * image @ text.T, torch.arange(len(image)))


def sides(size=8):
    return torch.randn(size, 8), torch.randn(size, 5)


def record(loop):
    windows = []
    with Recorder(lambda step: True, lambda w: windows.append(w.resolve())):
        result = loop()
    assert [s for w in windows for s in w.sites if s.status.startswith("recorder failed")] == []
    return result, [{(r.site, r.signal): r.values for r in w.readings} for w in windows]


def train(steps=1, before=lambda: None, model=None, loss_of=clip):
    model = model or Two()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        before()
        loss_of(*model(*sides())).backward()
        optimizer.step()
        optimizer.zero_grad()


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
    (_, inner), outer = record(lambda: record(lambda: train(60)))
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

    _, got = record(lambda: train(3, aside, model))
    assert len(got) == 3
    assert all(("", "loss/total") in window for window in got)


def test_transforms_neither_use_up_the_window_nor_count_as_data():
    class Scale(nn.Module):
        def forward(self, x):
            return x / 2

    def transform():
        for _ in range(400):
            Scale()(torch.ones(3, 4, 4))

    _, got = record(lambda: train(2, transform))
    assert all(("image", "activation/rms") in window and ("", "loss/total") in window for window in got)
    assert {site for site, signal in got[0] if signal == "data/samples"} == {"input0", "input1"}


def test_a_loss_that_is_changed_in_place_is_still_explained():
    def divided(image, text):
        loss = clip(image, text)
        loss /= 4
        return loss

    def summed(image, text):
        loss = clip(image, text)
        loss += clip(text, image)
        return loss

    for loss_of in (divided, summed):
        _, got = record(lambda loss_of=loss_of: train(1, loss_of=loss_of))
        assert got[0]["", "loss/explained"] == pytest.approx(got[0]["", "loss/total"], rel=1e-5)


def test_a_gradient_taken_aside_is_not_part_of_the_loss():
    def loop():
        model = Two()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loss = clip(*model(*sides()))
        torch.autograd.grad(loss, [model.image.weight], retain_graph=True)
        loss.backward()
        optimizer.step()

    _, got = record(loop)
    assert got[0]["", "loss/explained"] == pytest.approx(got[0]["", "loss/total"], rel=1e-5)


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

    _, got = record(loop)
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

    _, got = record(loop)
    assert all(("image", "activation/sample_signal") in window for window in got[1:])
    assert all(("input0", "data/samples") in window for window in got[1:])


def test_towers_that_are_clipped_apart_have_factors_of_their_own():
    def loop():
        model = Two()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        clip(*model(*sides())).backward()
        norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
        nn.utils.clip_grad_norm_(model.image.parameters(), 100.0)
        nn.utils.clip_grad_norm_(model.text.parameters(), 1e-3)
        optimizer.step()
        return float(norm)

    norm, got = record(loop)
    assert got[0]["", "gradient/norm"][0] == pytest.approx(norm, rel=1e-4)
    assert got[0]["", "gradient/clip_factor"][0] < 1


def test_the_scale_of_siglip_is_read_before_its_labels_come_in():
    def siglip(image, text):
        logits = 7.0 * image @ text.T - 10.0
        return -F.logsigmoid((2 * torch.eye(len(logits)) - 1) * logits).sum() / len(logits)

    _, got = record(lambda: train(1, loss_of=siglip))
    assert next(v for (_, s), v in got[0].items() if s == "embedding/scale")[0] == pytest.approx(7.0, rel=1e-3)
