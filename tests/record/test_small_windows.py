"""What many small tensors have in common is measured together, is the same as of each alone, and takes few calls."""

import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeglass_diag.measures.attention import attention_statistics
from edgeglass_diag.measures.gradients import SAMPLED, sample, samples
from edgeglass_diag.measures.sampling import Subset
from edgeglass_diag.record import Recorder
from edgeglass_diag.record.buffer import WindowBuffer
from edgeglass_diag.record.small_attentions import SmallAttention, SmallAttentions, joint_statistics
from edgeglass_diag.signals.activations import ACTIVATION_RMS
from edgeglass_diag.signals.batches import DATA_SAMPLES


def attention(site, *, is_causal=False, heads=2, subset=None):
    query, key, outputs = torch.randn(3, 4, heads, 6, 8).unbind()
    return SmallAttention(site, query, key, outputs, is_causal, None, subset or Subset((4, 6)))


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("subset", [Subset((4, 6)), Subset((4, 6), (2, 2))])
def test_attentions_measured_together_are_as_each_alone(is_causal, subset):
    several = [attention(f"block.{i}", is_causal=is_causal, subset=subset) for i in range(3)]
    together, outputs = joint_statistics(several)
    assert torch.equal(outputs[:, 2:4], several[1].outputs)
    for one, found in zip(several, together, strict=True):
        alone = attention_statistics(one.query, one.key, is_causal=is_causal, subset=subset)
        for name, value in alone._asdict().items():
            torch.testing.assert_close(getattr(found, name), value, rtol=1e-6, atol=1e-6)


def test_attentions_wait_as_copies_and_by_kind():
    waiting = SmallAttentions()
    first, other = attention("a"), attention("b", heads=3)
    kept = first.query.clone()
    for one in (first, other, attention("c")):
        waiting.add(one)
    first.query.zero_()
    groups = list(waiting.take())
    assert [[one.site for one in alike] for alike in groups] == [["a", "c"], ["b"]]
    assert torch.equal(groups[0][0].query, kept)
    assert list(waiting.take()) == []


def test_many_samples_are_those_of_each_parameter_and_copies():
    shapes = [(3, 4), (), (0,), (SAMPLED + 5,), (7,)]
    parameters = [torch.randn(shape) for shape in shapes] + [torch.randn(5, 6).T, torch.randn(3).double()]
    found = samples(parameters)
    for parameter, one in zip(parameters, found, strict=True):
        assert torch.equal(one, sample(parameter))
    before = [one.clone() for one in found]
    for parameter in parameters:
        parameter.add_(1)
    assert all(torch.equal(one, kept) for one, kept in zip(found, before, strict=True))


def test_a_site_that_was_measured_with_others_each_time_has_one_reading():
    buffer = WindowBuffer()
    buffer.add_each(["a", "b"], ACTIVATION_RMS, torch.tensor([1.0, 2.0]))
    buffer.add_each(["b", "c"], ACTIVATION_RMS, torch.tensor([4.0, 8.0]))
    buffer.add("d", ACTIVATION_RMS, 16.0)
    buffer.add("a", DATA_SAMPLES, 3.0)
    buffer.add("a", DATA_SAMPLES, torch.tensor(5.0))
    readings = buffer.flush(0, (), ()).resolve().readings
    assert {(r.signal, r.site): r.values for r in readings} == {
        (ACTIVATION_RMS, "a"): (1.0,), (ACTIVATION_RMS, "b"): (3.0,), (ACTIVATION_RMS, "c"): (8.0,),
        (ACTIVATION_RMS, "d"): (16.0,), (DATA_SAMPLES, "a"): (4.0,),
    }  # fmt: skip
    assert len(readings) == 5


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(16), nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x):
        query, key, value = (part.unflatten(-1, (2, 8)).transpose(1, 2) for part in self.qkv(self.norm(x)).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(query, key, value)
        return x + self.out(mixed.transpose(1, 2).flatten(2))


class Calls:
    """Counts calls of functions that are written in Python."""

    def __init__(self):
        self.number = 0

    def __call__(self, frame, event, argument):
        self.number += event == "call"

    def during(self, call):
        before = self.number
        sys.setprofile(self)
        try:
            call()
        finally:
            sys.setprofile(None)
        return self.number - before


def test_a_recorded_window_takes_few_calls_for_each_module():
    torch.manual_seed(0)
    image, text = (nn.Sequential(*(Block() for _ in range(6))) for _ in range(2))
    optimizer = torch.optim.AdamW([*image.parameters(), *text.parameters()], lr=1e-3)

    def step():
        optimizer.zero_grad()
        left, right = (F.normalize(side(torch.randn(8, 5, 16)).mean(1), dim=-1) for side in (image, text))
        F.cross_entropy(left @ right.T, torch.arange(8)).backward()
        optimizer.step()

    calls, windows = Calls(), []
    step()
    plain = calls.during(step)
    with Recorder(lambda number: True, windows.append):
        for _ in range(3):
            step()
        watched = calls.during(step)
    modules = sum(1 for side in (image, text) for _ in side.modules())
    assert len(windows) == 4
    assert (watched - plain) / modules < 650, f"{watched} calls, unwatched {plain}"
