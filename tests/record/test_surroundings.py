"""What else goes on in a process that trains: tracers, counters, threads, transforms, other watches."""

import math
import threading

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from edgeglass_diag.measures.chance import binary_entropy
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


@pytest.mark.parametrize("chunks", [1, 2])
def test_siglip_in_chunks_has_the_chance_level_of_the_whole(chunks):
    def siglip(image, text):
        size, total = len(image) // chunks, 0.0
        for start in range(0, len(image), size):
            logits = 7.0 * image[:size] @ text[start : start + size].T - 3.0
            sign = 2 * torch.eye(size) - 1 if start == 0 else -torch.ones(size, size)
            total = total - F.logsigmoid(sign * logits).sum() / size
        return total

    _, got = record(lambda: train(1, loss_of=siglip))
    level = len(sides()[0]) * binary_entropy(1 / 8)
    assert got[0]["", "loss/chance"][0] == pytest.approx(level, rel=1e-5)


@pytest.mark.parametrize(("reduction", "weighted"), [("none", False), ("none", True), ("sum", True), ("mean", True)])
def test_ignored_and_weighted_classes_have_the_chance_level_of_what_counts(reduction, weighted):
    target = torch.tensor([0, 1, 2, 3, -100, -100, -100, -100])
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0]) if weighted else None
    counted = 10.0 if weighted else 4.0

    def loop():
        logits = nn.Parameter(torch.zeros(8, 4))
        optimizer = torch.optim.SGD([logits], lr=0.1)
        loss = F.cross_entropy(logits * 1.0, target, weight=weight, reduction=reduction)
        (loss if reduction == "mean" else loss.sum() / counted).backward()
        optimizer.step()

    _, got = record(loop)
    for signal in ("loss/total", "loss/explained", "loss/chance"):
        assert got[0]["", signal][0] == pytest.approx(math.log(4), rel=1e-5), signal


def test_logits_that_are_masked_out_are_no_candidates():
    def nt_xent(image, text):
        both = torch.cat([image, text])
        logits = (both @ both.T * 5.0).masked_fill(torch.eye(len(both), dtype=torch.bool), -math.inf)
        return F.cross_entropy(logits, torch.arange(len(both)).roll(len(image)))

    _, got = record(lambda: train(1, loss_of=nt_xent))
    assert got[0]["", "loss/chance"][0] == pytest.approx(math.log(15), rel=1e-6)
    assert got[0]["cross_entropy", "loss/candidates"] == (15.0,)
    assert 0 < got[0]["cross_entropy", "loss/logit_std"][0] < 5
    assert next(v for (_, s), v in got[0].items() if s == "embedding/scale")[0] == pytest.approx(5.0, rel=1e-4)


def test_a_gradient_given_to_backward_scales_the_loss():
    def loop():
        model = Two()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        clip(*model(*sides())).backward(torch.tensor(0.25))
        optimizer.step()

    _, got = record(loop)
    assert got[0]["", "loss/explained"] == pytest.approx(got[0]["", "loss/total"], rel=1e-5)
    assert got[0]["", "loss/chance"][0] == pytest.approx(math.log(8) / 4)


def test_models_built_one_after_the_other_keep_their_own_names():
    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.bb, self.ba = nn.Linear(8, 6), nn.Linear(5, 6)

        def forward(self, x, t):
            return self.bb(x), self.ba(t)

    def loop():
        for fold in range(8):
            train(1, model=(Two, Other)[fold % 2]())

    _, got = record(loop)
    for fold, window in enumerate(got):
        sides = (("image", "text"), ("bb", "ba"))[fold % 2]
        expected = {f"{side}.{kind}" for side in sides for kind in ("weight", "bias")} | {""}
        assert {site for site, signal in window if signal == "gradient/norm"} == expected


def test_a_second_optimizer_knows_of_the_clipping_over_both():
    def loop():
        model = Two()
        first, second = (torch.optim.SGD(m.parameters(), lr=0.1) for m in (model.image, model.text))
        for _ in range(2):
            (1000 * clip(*model(*sides()))).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1e-2)
            first.step()
            second.step()
            first.zero_grad()
            second.zero_grad()

    _, got = record(loop)
    # The second steps after the first has ended their window, so it is seen in the next one.
    assert got[0]["", "gradient/clip_factor"] == pytest.approx(got[1]["optimizer1", "gradient/clip_factor"], rel=1e-4)
    assert got[1]["optimizer1", "gradient/norm"][0] > 1


def test_attention_masks_are_no_texts_and_padding_may_stand_in_front():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(10, 4)

        def forward(self, input_ids, attention_mask, flags):
            return (self.table(input_ids) * attention_mask.unsqueeze(-1)).sum()

    def loop():
        model = Reader()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        ids = torch.arange(1, 9).repeat(3, 1)
        ids[:, :4] = 0
        model(input_ids=ids, attention_mask=(ids != 0).long(), flags=(ids != 0).long()).backward()
        optimizer.step()

    _, got = record(loop)
    assert got[0]["input_ids", "data/padding"] == (0.5,)
    assert got[0]["input_ids", "data/unpadded_texts"] == (0.0,)
    assert ("attention_mask", "data/padding") not in got[0]
    assert math.isnan(got[0]["flags", "data/padding"][0])


def test_samples_that_stand_second_are_found_from_the_second_window_on():
    class SequenceFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.image, self.text = nn.LayerNorm(8), nn.Linear(8, 6), nn.Linear(5, 6)

        def forward(self, tokens, t):
            return self.image(self.norm(tokens)).mean(0), self.text(t)

    def loop():
        model = SequenceFirst()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            tokens = torch.randn(12, 1, 8).expand(12, 7, 8)
            clip(*model(tokens, torch.randn(7, 5))).backward()
            optimizer.step()

    _, got = record(loop)
    assert got[1]["norm", "activation/sample_signal"][0] == pytest.approx(0, abs=1e-6)


def test_half_precision_gradients_do_not_overflow_in_their_norm():
    def loop():
        weight = nn.Parameter(torch.zeros(256, 256, dtype=torch.float16))
        optimizer = torch.optim.SGD([weight], lr=0.1)
        weight.grad = torch.full_like(weight, 3000.0)
        optimizer.step()

    _, got = record(loop)
    assert got[0]["", "gradient/norm"][0] == pytest.approx(768_000, rel=1e-4)
    assert got[0]["unnamed", "gradient/nonfinite"] == (0.0,)


@pytest.mark.parametrize(
    "act",
    [
        lambda: nn.Linear(3, 2)(torch.zeros(0, 3)),
        lambda: F.cross_entropy(nn.Linear(3, 2)(torch.zeros(0, 3)), torch.zeros(0, dtype=torch.long), reduction="sum"),
        lambda: nn.LazyLinear(3)(torch.randn(2, 4)),
        lambda: nn.Linear(3, 2).to(torch.complex64)(torch.randn(2, 3, dtype=torch.complex64)),
        lambda: nn.Identity()(torch.eye(3).to_sparse()),
        lambda: nn.Sequential(nn.Linear(3, 3))(torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(1, 3)])),
    ],
)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested", "ignore:Lazy modules", "ignore:Complex modules")
def test_tensors_that_cannot_be_measured_are_no_failure(act):
    record(act)
