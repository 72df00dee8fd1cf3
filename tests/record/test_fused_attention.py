"""Attention by torch's fused functions, compared with a float64 reference."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import flex_attention as flex
from torch.nn.attention.bias import causal_lower_right

from edgeglass_diag.sites import Coverage
from tests.helpers.attending import KEEP, PAIRS, TINY, B, E, H, L, Net, S, check, normal, statuses, window_of
from tests.helpers.attention_reference import logits_of, of_logits, reference

FUSED = {
    "plain": {},
    "scale": {"scale": 0.9},
    "causal": {"is_causal": True},
    "bool": {"attn_mask": KEEP},
    "pairs": {"attn_mask": PAIRS},
    "additive": {"attn_mask": torch.zeros(L, S).masked_fill(~PAIRS, -math.inf)},
    "finite": {"attn_mask": torch.zeros(B, 1, 1, S).masked_fill(~KEEP, TINY)},
    "bias": {"attn_mask": normal(7, H, L, S)},
    "dropout": {"dropout_p": 0.5},
}


@pytest.mark.parametrize("kind", FUSED)
def test_fused_attention(kind):
    q, k, v = normal(0, B, H, L, E), normal(1, B, H, S, E), normal(2, B, H, S, E)
    options = FUSED[kind]
    window = window_of(Net(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **options).nan_to_num()), q, k, v)
    known = {"mask": options.get("attn_mask"), **{n: options[n] for n in ("scale", "is_causal") if n in options}}
    check(window, reference(q, k, **known))


def test_fused_attention_with_positional_mask_and_shared_key_heads():
    q, k, v = normal(0, B, 4, L, E), normal(1, B, 2, S, E), normal(2, B, 2, S, E)
    window = window_of(
        Net(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, KEEP, 0.0, False, enable_gqa=True)), q, k, v
    )
    check(window, reference(q, k, KEEP))


def test_fused_attention_of_three_and_of_five_dimensions():
    q, k = normal(0, B * H, L, E), normal(1, B * H, S, E)
    mask = normal(2, B * H, L, S) > -1
    window = window_of(Net(lambda q, k: F.scaled_dot_product_attention(q, k, k, attn_mask=mask)), q, k)
    check(window, reference(q[:, None], k[:, None], mask[:, None]))
    q, k, mask = q.view(B, 1, H, L, E), k.view(B, 1, H, S, E), mask.view(B, 1, H, L, S)
    window = window_of(Net(lambda q, k: F.scaled_dot_product_attention(q, k, k, attn_mask=mask)), q, k)
    check(window, reference(q[:, 0], k[:, 0], mask[:, 0]))


def test_fused_attention_with_a_causal_bias_aligned_to_the_end():
    q, k = normal(0, B, H, L, E), normal(1, B, H, S, E)
    window = window_of(Net(lambda q, k: F.scaled_dot_product_attention(q, k, k, causal_lower_right(L, S))), q, k)
    check(window, reference(q, k, torch.ones(L, S, dtype=torch.bool).tril(S - L)))


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("debug", [True, False])
def test_flex_attention(monkeypatch, debug):
    # Called as it is, flex attention traces itself and then runs the operation eagerly.
    monkeypatch.setattr(flex, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", debug)
    q, k = normal(0, B, 4, 16, E), normal(1, B, 2, 16, E)
    slopes = torch.arange(4) / 8
    lengths = torch.tensor([16, 9, 4])

    def biased(score, b, h, i, j):
        return score - slopes[h] * (i - j)

    def allows(b, h, i, j):
        return (i >= j) & (j < lengths[b])

    mask = flex.create_block_mask(allows, B, None, 16, 16, device="cpu")

    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(E, E)

        def forward(self, q, k):
            return self.out(flex.flex_attention(q, k, k, biased, mask, 0.7, True))

    places = torch.arange(16)
    logits = logits_of(q, k, 0.7) - slopes[:, None, None] * (places[:, None] - places)
    allowed = (places[:, None] >= places) & (places < lengths[:, None, None, None])
    found = check(window_of(Attends(), q, k), of_logits(logits, allowed.expand(logits.shape)), "attention")
    assert found["effective_num_outputs"].shape == (4,)


@pytest.mark.filterwarnings("ignore")
def test_compiled_flex_attention_is_said_to_be_unobserved():
    flex_attention = torch.compile(flex.flex_attention, backend="aot_eager")

    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(E, E)

        def forward(self, q, k):
            return self.out(flex_attention(q, k, k))

    q = normal(0, B, H, 16, E)
    assert statuses(window_of(Attends(), q, q)) == {"attention": Coverage.KERNEL_COMPILED}
