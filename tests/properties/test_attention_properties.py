"""Invariants of the attention measures."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from edgeglass_diag.guard.strategies import dtypes, normal, seeds
from edgeglass_diag.measures.attention import attention_statistics, softmax_statistics

SHAPES = st.tuples(
    st.integers(1, 4), st.sampled_from([1, 2, 4]), st.integers(1, 9), st.integers(1, 24), st.sampled_from([1, 4, 16])
)


def operands(shape, seed, size=1.0):
    batch, heads, queries, keys, width = shape
    return size * normal((batch, heads, queries, width), seed), normal((batch, heads, keys, width), seed + 1)


def same(left, right, tolerance=1e-4):
    for name, one, other in zip(left._fields, left, right, strict=True):
        if one is not None and other is not None:
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance, equal_nan=True, msg=name)


@given(SHAPES, seeds(), st.sampled_from([0.0, 0.1, 1.0, 10.0]))
def test_they_are_the_statistics_of_the_plain_softmax(shape, seed, size):
    query, key = operands(shape, seed, size)
    logits = (query.double() @ key.double().mT) / math.sqrt(shape[-1])
    weights = logits.softmax(-1)
    found = attention_statistics(query, key)
    expected = {
        "logit_mean": logits.mean((0, 2, 3)),
        "logit_std": logits.var(-1, correction=0).mean((0, 2)).sqrt(),
        "logit_max": logits.amax((0, 2, 3)),
        "entropy": (torch.special.entr(weights).sum(-1) / (math.log(shape[3]) or 1)).mean((0, 2)),
        "top1": weights.amax(-1).mean((0, 2)),
    }
    for name, value in expected.items():
        torch.testing.assert_close(getattr(found, name).double(), value, rtol=1e-4, atol=2e-5, msg=name)


@given(SHAPES, seeds(), st.sampled_from([0.01, 1.0, 30.0]))
def test_entropy_and_largest_weight_are_within_their_bounds(shape, seed, size):
    keys = shape[3]
    found = attention_statistics(*operands(shape, seed, size))
    assert (found.entropy >= -1e-5).all()
    assert (found.entropy <= 1 + 1e-5).all()
    assert (found.top1 >= 1 / keys - 1e-6).all()
    assert (found.top1 <= 1 + 1e-6).all()
    assert (found.logit_max >= found.logit_mean - 1e-4 * found.logit_max.abs()).all()


@given(SHAPES, seeds(), st.randoms(use_true_random=False))
def test_the_order_of_keys_queries_and_samples_does_not_matter(shape, seed, random):
    query, key = operands(shape, seed)
    orders = [torch.tensor(random.sample(range(n), n)) for n in (shape[3], shape[2], shape[0])]
    turned = attention_statistics(query[:, :, orders[1]][orders[2]], key[:, :, orders[0]][orders[2]])
    same(attention_statistics(query, key), turned)


@given(SHAPES, seeds())
def test_a_rotation_of_queries_and_keys_changes_nothing(shape, seed):
    query, key = operands(shape, seed)
    rotation = torch.linalg.qr(normal((shape[-1], shape[-1]), seed + 2)).Q
    same(attention_statistics(query, key), attention_statistics(query @ rotation, key @ rotation), 1e-3)


@given(SHAPES, seeds())
def test_a_shift_of_all_keys_moves_the_mean_alone(shape, seed):
    query, key = operands(shape, seed)
    before, after = (attention_statistics(query, key + shift) for shift in (0.0, 0.5))
    for name in ("logit_std", "entropy", "top1"):
        torch.testing.assert_close(getattr(before, name), getattr(after, name), rtol=1e-3, atol=1e-4)


@given(SHAPES, seeds())
def test_a_batch_is_the_mean_of_its_halves(shape, seed):
    query, key = operands((2 * shape[0], *shape[1:]), seed)
    whole = attention_statistics(query, key)
    first, second = (attention_statistics(q, k) for q, k in zip(query.chunk(2), key.chunk(2), strict=True))
    for name in ("logit_mean", "entropy", "top1"):
        halves = (getattr(first, name) + getattr(second, name)) / 2
        torch.testing.assert_close(getattr(whole, name), halves, rtol=1e-4, atol=1e-5)
    variance = (first.logit_std.square() + second.logit_std.square()) / 2
    torch.testing.assert_close(whole.logit_std.square(), variance, rtol=1e-4, atol=1e-6)


@given(SHAPES, seeds(), st.integers(1, 8))
def test_masked_keys_might_as_well_not_be_there(shape, seed, more):
    query, key = operands(shape, seed)
    padded = torch.cat([key, 7 * normal((*shape[:2], more, shape[-1]), seed + 3)], 2)
    mask = (torch.arange(padded.shape[2]) < shape[3])[None, None, None]
    found = attention_statistics(query, padded, mask=mask)
    same(attention_statistics(query, key), found)
    torch.testing.assert_close(found.valid_keys, torch.full_like(found.valid_keys, shape[3] / padded.shape[2]))
    additive = torch.where(mask, 0.0, -torch.inf)
    same(found, attention_statistics(query, padded, mask=additive))
    materialised = (query @ padded.mT) / math.sqrt(shape[-1]) + additive
    same(attention_statistics(query, key), softmax_statistics(materialised))


@given(SHAPES, seeds())
def test_the_hidden_mass_is_what_the_softmax_would_put_there(shape, seed):
    query, key = operands(shape, seed)
    visible = max(1, shape[3] // 2)
    mask = (torch.arange(shape[3]) < visible)[None, None, None]
    mass = attention_statistics(query, key, mask=mask).padding_mass
    weights = ((query @ key.mT) / math.sqrt(shape[-1])).softmax(-1)
    torch.testing.assert_close(mass, weights[..., visible:].sum(-1).mean((0, 2)), rtol=1e-3, atol=1e-5)


@given(SHAPES, seeds())
def test_causal_is_a_triangular_mask(shape, seed):
    query, key = operands(shape, seed)
    triangle = torch.ones(shape[2], shape[3], dtype=torch.bool).tril()
    same(attention_statistics(query, key, is_causal=True), attention_statistics(query, key, mask=triangle))


@given(SHAPES, seeds(), dtypes())
def test_narrow_types_are_widened_first(shape, seed, dtype):
    query, key = (side.to(dtype) for side in operands(shape, seed))
    same(
        attention_statistics(query.double(), key.double()),
        attention_statistics(query, key).__class__(
            *(None if v is None else v.double() for v in attention_statistics(query, key))
        ),
        1e-3,
    )


@given(SHAPES, seeds())
def test_queries_that_share_a_key_head_see_its_keys(shape, seed):
    query, key = operands(shape, seed)
    shared = key[:, :1]
    same(attention_statistics(query, shared.expand_as(key)), attention_statistics(query, shared))
