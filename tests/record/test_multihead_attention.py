"""torch's own module of attention, compared with a float64 reference."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeglass_diag.record import Recorder
from edgeglass_diag.sites import Coverage
from tests.helpers.attending import KEEP, PAIRS, B, E, H, L, Net, S, attention_in, check, normal, statuses, window_of
from tests.helpers.attention_reference import reference

MULTIHEAD = {
    "plain": {},
    "sequence first": {"batch_first": False},
    "biases": {"add_bias_kv": True},
    "zero": {"add_zero_attn": True},
    "other widths": {"kdim": 6, "vdim": 3},
    "dropout": {"dropout": 0.4},
}
MASKS = {
    "none": {},
    "padding": {"key_padding_mask": ~KEEP[:, 0, 0]},
    "pairs": {"attn_mask": ~PAIRS},
    "additive": {"attn_mask": normal(3, L, S)},
    "heads": {"attn_mask": normal(3, B * H, L, S)},
    "both": {"key_padding_mask": ~KEEP[:, 0, 0], "attn_mask": torch.zeros(L, S, dtype=torch.bool)},
}


class Multihead(nn.Module):
    def __init__(self, calls, **options):
        super().__init__()
        self.calls = calls
        self.mha = nn.MultiheadAttention(H * E, H, **options)

    def forward(self, q, k, v):
        return self.mha(q, k, v, **self.calls)[0].nan_to_num()


def multihead_reference(mha, q, k, masks):
    """From the module's own parameters: logits in float64, and what is allowed."""
    width = mha.embed_dim
    weights = (
        mha.in_proj_weight.split(width) if mha.in_proj_weight is not None else (mha.q_proj_weight, mha.k_proj_weight)
    )
    biases = mha.in_proj_bias.split(width)
    query, key = F.linear(q, weights[0], biases[0]), F.linear(k, weights[1], biases[1])
    if mha.bias_k is not None:
        key = torch.cat([key, mha.bias_k.expand(len(key), -1, -1)], 1)
    if mha.add_zero_attn:
        key = torch.cat([key, torch.zeros(len(key), 1, width)], 1)
    query, key = (x.detach().unflatten(-1, (H, E)).transpose(1, 2) for x in (query, key))
    bias = torch.zeros(B, H, L, key.shape[2])
    attn, padding = masks.get("attn_mask"), masks.get("key_padding_mask")
    if attn is not None:
        attn = attn if attn.dim() == 2 else attn.view(B, H, L, S)
        bias[..., :S] += torch.zeros(attn.shape).masked_fill(attn, -math.inf) if attn.dtype == torch.bool else attn
    if padding is not None:
        bias[..., :S] += torch.zeros(B, S).masked_fill(padding, -math.inf)[:, None, None]
    return reference(query, key, bias)


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("options", MULTIHEAD)
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_multihead_attention(options, masks, weights, training):
    torch.manual_seed(0)
    settings = {"batch_first": True, **MULTIHEAD[options]}
    own = Multihead({**MASKS[masks], "need_weights": weights}, **settings).train(training)
    q, k, v = (normal(i, B, n, w) for i, n, w in ((0, L, H * E), (1, S, own.mha.kdim), (2, S, own.mha.vdim)))
    expected = multihead_reference(own.mha, q, k, MASKS[masks])
    inputs = (q, k, v) if settings["batch_first"] else tuple(x.transpose(0, 1) for x in (q, k, v))
    found = check(window_of(Net(None, own), *inputs), expected, "inner.mha.attention")
    assert len(found["effective_num_outputs"]) == H


def test_multihead_attention_that_is_causal():
    mask = nn.Transformer.generate_square_subsequent_mask(L)
    own = Multihead({"attn_mask": mask, "is_causal": True, "need_weights": False}, batch_first=True)
    x = normal(0, B, L, H * E)
    weights, biases = own.mha.in_proj_weight.split(H * E), own.mha.in_proj_bias.split(H * E)
    q, k = (F.linear(x, weights[i], biases[i]).detach().unflatten(-1, (H, E)).transpose(1, 2) for i in range(2))
    check(window_of(Net(None, own), x, x, x), reference(q, k, is_causal=True), "inner.mha.attention")


def test_frozen_attentions_say_why_they_are_not_observed():
    class Fused(nn.Module):
        def forward(self, x):
            return F.scaled_dot_product_attention(x, x, x)

    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(()))
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
            self.mha = nn.MultiheadAttention(8, 2, batch_first=True).eval()
            self.fused = Fused()

        def forward(self, x):
            with torch.no_grad():
                x = self.fused(self.mha(self.layer(x), x, x, need_weights=False)[0])
            return self.gain * x

    window = window_of(Frozen(), normal(0, 2, 3, 8))
    hidden = dict.fromkeys(("layer.self_attn.attention", "mha.attention"), Coverage.KERNEL_WITHOUT_GRADIENTS)
    assert statuses(window) == {**hidden, "fused.attention": Coverage.OBSERVED}
    assert set(attention_in(window)) == {"fused.attention"}


def test_an_attention_that_is_unfrozen_is_observed_again():
    own = Multihead({"need_weights": False}, batch_first=True)
    net, x = Net(None, own), normal(0, B, L, H * E)
    windows, optimizer = [], torch.optim.SGD(net.parameters(), lr=1e-3)
    with Recorder(lambda step: True, lambda w: windows.append(w.resolve())):
        for frozen in (True, False):
            with torch.set_grad_enabled(not frozen) if frozen else torch.enable_grad():
                hidden = own(x, x, x) if not frozen else None
            (net(x, x, x) if hidden is None else hidden).sum().backward()
            optimizer.step()
    assert [s.coverage for w in windows for s in w.sites if s.kind == "attention"][-1] is Coverage.OBSERVED


def test_an_attention_that_a_program_puts_in_the_place_of_torchs_is_the_one_that_runs(monkeypatch):
    torch.manual_seed(0)
    mha, x = nn.MultiheadAttention(8, 2, batch_first=True), torch.randn(2, 3, 8)
    calls = []

    def of_another_library(query, key, value, *args, **kwargs):
        calls.append(query.shape)
        return value * 0.5

    monkeypatch.setattr(F, "scaled_dot_product_attention", of_another_library)

    def output():
        return mha(x, x, x, need_weights=False)[0]

    alone = output()
    with Recorder(lambda step: True, lambda window: None):
        watched = output()
    assert len(calls) == 2
    assert torch.equal(alone, watched)
