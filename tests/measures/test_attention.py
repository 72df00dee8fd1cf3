"""Attention statistics against a float64 materialised reference."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeglass_diag.measures import attention
from edgeglass_diag.measures.attention import attention_statistics, softmax_statistics


def reference(query, key, mask=None, is_causal=False, scale=None):
    query, key = query.double(), key.double().repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    logits = (query @ key.mT) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    allowed = torch.ones(logits.shape, dtype=torch.bool)
    if is_causal:
        allowed &= torch.ones(logits.shape[-2:], dtype=torch.bool).tril()
    if mask is not None and mask.dtype == torch.bool:
        allowed &= mask
    elif mask is not None:
        logits = logits + mask.double()
        allowed &= torch.isfinite(logits)
    heads = logits.shape[1]
    rows = {name: [[] for _ in range(heads)] for name in ("mean", "var", "entropy", "top1")}
    largest = [-math.inf] * heads
    for b in range(logits.shape[0]):
        for h in range(heads):
            for i in range(logits.shape[2]):
                row = logits[b, h, i][allowed[b, h, i]]
                weights = row.softmax(-1)
                rows["mean"][h].append(row.mean())
                rows["var"][h].append(row.var(correction=0))
                entropy = torch.special.entr(weights).sum()
                rows["entropy"][h].append(entropy / math.log(len(row)) if len(row) > 1 else entropy)
                rows["top1"][h].append(weights.max())
                largest[h] = max(largest[h], float(row.max()))
    mean = {name: torch.stack([torch.stack(values).mean() for values in per]) for name, per in rows.items()}
    return mean["mean"], mean["var"].sqrt(), torch.tensor(largest), mean["entropy"], mean["top1"]


def assert_close(statistics, expected, tolerance=1e-4):
    for name, got, want in zip(statistics._fields, statistics, expected, strict=True):
        torch.testing.assert_close(got.double(), want.double(), atol=tolerance, rtol=tolerance, msg=name)


@given(
    seed=st.integers(0, 10_000),
    heads=st.sampled_from([(1, 1), (4, 4), (4, 2)]),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 9)),
    kind=st.sampled_from(["none", "bool", "additive", "causal"]),
    scale=st.sampled_from([None, 0.3]),
)
@settings(deadline=None, max_examples=60)
def test_statistics_equal_the_reference(seed, heads, shape, kind, scale):
    generator = torch.Generator().manual_seed(seed)
    batch, queries, keys = shape
    query = 2 * torch.randn(batch, heads[0], queries, 8, generator=generator)
    key = torch.randn(batch, heads[1], keys, 8, generator=generator)
    mask = None
    if kind in ("bool", "additive"):
        mask = torch.rand(queries, keys, generator=generator) > 0.3
        mask[:, 0] = True
        if kind == "additive":
            mask = torch.zeros(queries, keys).masked_fill(~mask, -math.inf)
    arguments = {"mask": mask, "is_causal": kind == "causal", "scale": scale}
    assert_close(attention_statistics(query, key, **arguments), reference(query, key, **arguments))


def test_blocks_of_queries_give_the_same(monkeypatch):
    query, key = torch.randn(2, 3, 50, 8), torch.randn(2, 3, 20, 8)
    whole = attention_statistics(query, key)
    monkeypatch.setattr(attention, "_BLOCK_ELEMENTS", 2 * 3 * 20 * 7)
    assert_close(attention_statistics(query, key), whole, 1e-6)


def test_uniform_and_peaked_logits_are_the_ends_of_entropy():
    uniform = softmax_statistics(torch.zeros(2, 1, 3, 5))
    assert float(uniform.entropy) == pytest.approx(1.0)
    peaked = softmax_statistics(100 * torch.eye(5).expand(2, 1, 5, 5))
    assert float(peaked.entropy) == pytest.approx(0.0, abs=1e-6)
    assert float(peaked.top1) == pytest.approx(1.0)


def test_a_row_without_valid_key_is_nan_and_not_hidden():
    mask = torch.tensor([[True, True], [False, False]])
    statistics = attention_statistics(torch.randn(1, 1, 2, 4), torch.randn(1, 1, 2, 4), mask=mask)
    assert torch.isnan(statistics.entropy).all()


def test_bf16_is_measured_in_float32():
    query, key = torch.randn(2, 2, 6, 16).bfloat16(), torch.randn(2, 2, 6, 16).bfloat16()
    assert_close(attention_statistics(query, key), reference(query, key))


def test_heads_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="query heads must be a multiple of key heads, got 3 and 2"):
        attention_statistics(torch.randn(1, 3, 2, 4), torch.randn(1, 2, 2, 4))
