"""Attention statistics against a float64 materialised reference."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from edgeglass_diag.measures import attention
from edgeglass_diag.measures.attention import attention_statistics, softmax_statistics
from edgeglass_diag.measures.sampling import strided_subset
from tests.helpers.attention_reference import allowed_by, assert_matches, logits_of, of_logits, reference

SHAPES = {
    "keys": lambda b, h, q, k: (b, 1, 1, k),
    "pairs": lambda b, h, q, k: (q, k),
    "samples": lambda b, h, q, k: (b, 1, q, k),
    "heads": lambda b, h, q, k: (1, h, q, k),
    "all": lambda b, h, q, k: (b, h, q, k),
}
FILLS = {"-inf": -math.inf, "-1e4": -1e4, "finfo.min": torch.finfo(torch.float32).min}


def random(seed, *shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@given(
    seed=st.integers(0, 10_000),
    heads=st.sampled_from([(1, 1), (4, 4), (4, 2), (6, 1)]),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 9)),
    kind=st.sampled_from(["none", "bool", *FILLS]),
    masked=st.sampled_from(list(SHAPES)),
    is_causal=st.booleans(),
    scale=st.sampled_from([None, 0.3, 3.0]),
)
@settings(deadline=None, max_examples=150)
def test_statistics_equal_the_reference(seed, heads, shape, kind, masked, is_causal, scale):
    batch, queries, keys = shape
    query, key = random(seed, batch, heads[0], queries, 8), random(seed + 1, batch, heads[1], keys, 8)
    mask = None
    if kind != "none":
        mask = random(seed + 2, *SHAPES[masked](batch, heads[0], queries, keys)) > -0.5
        mask = mask if kind == "bool" else random(seed + 3, *mask.shape).masked_fill(~mask, FILLS[kind])
    arguments = {"mask": mask, "is_causal": is_causal, "scale": scale}
    assert_matches(attention_statistics(query, key, **arguments), reference(query, key, **arguments))


@pytest.mark.parametrize("fill", ["bool", *FILLS])
@pytest.mark.parametrize("masked", list(SHAPES))
def test_a_mask_that_is_expanded_is_the_same_mask(fill, masked):
    query, key = random(0, 2, 3, 4, 8), random(1, 2, 3, 5, 8)
    mask = random(2, *SHAPES[masked](2, 3, 4, 5)) > 0
    mask = mask if fill == "bool" else torch.zeros(mask.shape).masked_fill(~mask, FILLS[fill])
    assert_matches(attention_statistics(query, key, mask=mask.expand(2, 3, 4, 5)), reference(query, key, mask))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("spread", [0.01, 1.0, 30.0])
def test_the_error_is_below_1e_4_for_every_dtype_and_spread(dtype, spread):
    query = (spread * random(0, 2, 4, 40, 64)).to(dtype)
    key = random(1, 2, 2, 321, 64, dtype=dtype)
    key[:, :, 0] *= 3  # a sink
    got = attention_statistics(query, key)
    assert_matches(got, reference(query, key))
    assert got.entropy.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_bfloat16_weights_themselves_round_is_larger_than_our_error(dtype):
    query, key = random(0, 2, 2, 16, 64, dtype=dtype), random(1, 2, 2, 321, 64, dtype=dtype)
    narrow = (query @ key.mT / 8).softmax(-1).double()
    rounded = torch.special.entr(narrow).sum(-1).mean((0, 2)) / math.log(321)
    exact = reference(query, key)["entropy"]
    ours = (attention_statistics(query, key).entropy - exact).abs().max()
    assert 10 * ours < (rounded - exact).abs().max()


@pytest.mark.parametrize("block", [2 * 20 * 7, 3 * 50 * 20, 2 * 3 * 50 * 20])
@pytest.mark.parametrize("masked", [None, *SHAPES])
def test_blocks_of_elements_and_of_queries_give_the_same(monkeypatch, block, masked):
    query, key = random(0, 5, 3, 50, 8), random(1, 5, 3, 20, 8)
    mask = None if masked is None else random(2, *SHAPES[masked](5, 3, 50, 20)) > 0
    whole = attention_statistics(query, key, mask=mask, is_causal=True)
    monkeypatch.setattr(attention, "_BLOCK_ON_CPU", block)
    parts = attention_statistics(query, key, mask=mask, is_causal=True)
    assert_matches(parts, {n: v.double() for n, v in whole._asdict().items() if v is not None}, 1e-5)


class Largest(TorchDispatchMode):
    """Number of elements of the largest tensor made inside."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        made = result if isinstance(result, (tuple, list)) else [result]
        self.numel = max(
            [self.numel, *(t.untyped_storage().nbytes() // 4 for t in made if isinstance(t, torch.Tensor))]
        )
        return result


@pytest.mark.parametrize("budget", [None, 2**16])
def test_no_tensor_of_queries_times_keys_is_made(budget):
    query, key = random(0, 2, 2, 1024, 8), random(1, 2, 2, 1024, 8)
    with Largest() as largest:
        attention_statistics(query, key, subset=strided_subset(2, 1024, 2048, budget), is_causal=True)
    assert largest.numel <= (attention._BLOCK_ON_CPU if budget is None else budget)


def test_nothing_waits_for_the_device():
    # The meta device has no values: an operation that waits for one raises.
    query, key = torch.empty(16, 4, 64, 8, device="meta"), torch.empty(16, 2, 32, 8, device="meta")
    for mask in (None, torch.empty(64, 32, dtype=torch.bool, device="meta"), torch.empty(16, 1, 1, 32, device="meta")):
        subset = strided_subset(16, 64, 4 * 32, 4096)
        got = attention_statistics(query, key, mask=mask, is_causal=True, subset=subset)
        assert {v.device.type for v in got if v is not None} == {"meta"}
    softmax_statistics(torch.empty(16, 4, 64, 32, device="meta"), subset=subset)


def test_uniform_and_peaked_logits_are_the_ends_of_entropy():
    uniform = softmax_statistics(torch.full((2, 1, 3, 5), 7.0))
    assert float(uniform.entropy) == pytest.approx(1.0)
    assert float(uniform.logit_std) == 0
    peaked = softmax_statistics(100 * torch.eye(5).expand(2, 1, 5, 5))
    assert float(peaked.entropy) == pytest.approx(0.0, abs=1e-6)
    assert float(peaked.top1) == pytest.approx(1.0)


@pytest.mark.parametrize("fill", ["bool", *FILLS])
def test_queries_without_valid_key_are_counted_and_leave_the_means_alone(fill):
    mask = torch.tensor([[True, True, False], [False, False, False]])
    mask = mask if fill == "bool" else torch.zeros(mask.shape).masked_fill(~mask, FILLS[fill])
    query, key = random(0, 1, 1, 2, 4), random(1, 1, 1, 3, 4)
    got = attention_statistics(query, key, mask=mask)
    alone = attention_statistics(query[:, :, :1], key, mask=mask[:1])
    assert float(got.masked_queries) == 0.5
    assert float(got.valid_keys) == pytest.approx(1 / 3)
    assert float(got.entropy) == float(alone.entropy)
    assert float(got.logit_max) == float(alone.logit_max)


def test_without_any_valid_key_there_is_no_mean():
    got = attention_statistics(random(0, 1, 2, 3, 4), random(1, 1, 2, 3, 4), mask=torch.zeros(3, 3, dtype=torch.bool))
    assert torch.isnan(got.entropy).all()
    assert got.logit_max.tolist() == [-math.inf] * 2
    assert got.masked_queries.tolist() == [1.0] * 2


@pytest.mark.parametrize("where", ["query", "mask"])
def test_nan_is_seen(where):
    query, key, mask = random(0, 2, 2, 3, 4), random(1, 2, 2, 5, 4), torch.zeros(3, 5)
    (query if where == "query" else mask.view(1, 1, 3, 5))[0, 0, 1, 2] = math.nan
    got = attention_statistics(query, key, mask=mask)
    assert math.isnan(got.entropy[0])
    logits = (query @ key.mT) + mask
    assert math.isnan(softmax_statistics(logits).entropy[0])


def test_a_bias_that_is_no_mask_counts_as_part_of_the_logits():
    query, key = random(0, 1, 2, 4, 8), random(1, 1, 2, 6, 8)
    bias = -100.0 * (torch.arange(6) % 2)
    assert attention_statistics(query, key, mask=bias.expand(4, 6)).valid_keys.tolist() == [1.0, 1.0]


def test_padding_mass_is_the_share_of_padding_for_uniform_attention_and_more_under_an_inverted_mask():
    key = torch.zeros(1, 1, 8, 4)
    key[:, :, :6] = 5.0  # six real keys, which the query looks for; two of padding
    right = torch.tensor([True] * 6 + [False] * 2).view(1, 1, 1, 8)
    query = torch.ones(1, 1, 3, 4)
    assert float(attention_statistics(0 * query, key, mask=right).padding_mass) == pytest.approx(0.25)
    assert float(attention_statistics(query, key, mask=right).padding_mass) < 0.001
    inverted = attention_statistics(query, key, mask=~right)
    assert float(inverted.padding_mass) > 0.999
    assert float(inverted.valid_keys) == 0.25


def test_a_causal_mask_hides_no_padding():
    query, key = random(0, 1, 1, 6, 4), random(1, 1, 1, 6, 4)
    causal = torch.ones(6, 6, dtype=torch.bool).tril()
    as_mask = attention_statistics(query, key, mask=causal)
    assert float(as_mask.padding_mass) == 0
    assert float(as_mask.entropy) == pytest.approx(float(attention_statistics(query, key, is_causal=True).entropy))


@given(
    seed=st.integers(0, 10_000),
    fill=st.sampled_from(["none", *FILLS]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    added=st.booleans(),
)
@settings(deadline=None, max_examples=40)
def test_masked_entries_of_materialised_logits_are_recognised_by_their_size(seed, fill, dtype, added):
    logits = 20 * random(seed, 2, 3, 5, 7)
    allowed = random(seed + 1, 2, 1, 5, 7) > -0.5 if fill != "none" else torch.ones(2, 1, 5, 7, dtype=torch.bool)
    allowed[0, :, 0] = fill == "none"
    value = max(FILLS.get(fill, 0.0), torch.finfo(dtype).min) if fill != "-inf" else -math.inf
    masked = torch.where(allowed, logits, value + logits if added and value > -1e6 else value).to(dtype)
    assert_matches(softmax_statistics(masked), of_logits(masked, allowed.expand(masked.shape)))


def test_logits_that_are_merely_widely_spread_are_all_valid():
    logits = 5000 * random(0, 2, 2, 30, 50)
    got = softmax_statistics(logits)
    assert got.valid_keys.tolist() == [1.0, 1.0]
    assert got.logit_std.tolist() == pytest.approx([5000, 5000], rel=0.1)


def test_materialised_logits_and_operands_agree():
    query, key = random(0, 9, 2, 16, 8), random(1, 9, 2, 12, 8)
    subset = strided_subset(9, 16, 24, 1000)
    logits = query @ key.mT / math.sqrt(8)
    before = logits.clone()
    fused, explicit = attention_statistics(query, key, subset=subset), softmax_statistics(logits, subset=subset)
    for name in ("logit_mean", "logit_std", "logit_max", "entropy", "top1", "entropy_se"):
        torch.testing.assert_close(getattr(explicit, name), getattr(fused, name))
    assert torch.equal(logits, before)


def test_a_subset_is_the_statistics_of_its_part():
    query, key, mask = random(0, 32, 2, 40, 8), random(1, 32, 2, 12, 8), random(2, 32, 1, 40, 12) > 0
    subset = strided_subset(32, 40, 24, 4000)
    assert subset.size[0] < 32
    assert subset.size[1] < 40
    got = attention_statistics(query, key, mask=mask, is_causal=True, subset=subset)
    allowed, padding = allowed_by(mask, (32, 2, 40, 12), is_causal=True)
    logits = logits_of(query, key)
    part = [x[subset.batch, :, subset.queries] for x in (logits, allowed, logits, padding)]
    assert_matches(got, of_logits(*part))


def test_batch_and_scale_may_be_broadcast():
    query, key = random(0, 1, 2, 4, 8), random(1, 3, 2, 5, 8)
    got = attention_statistics(query, key, scale=1.0)
    assert_matches(got, reference(query.expand(3, -1, -1, -1), key, scale=1.0))


def test_heads_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="query heads must be a multiple of key heads, got 3 and 2"):
        attention_statistics(torch.randn(1, 3, 2, 4), torch.randn(1, 2, 2, 4))


def test_what_is_added_to_all_of_a_row_is_no_mask_and_what_towers_above_excludes_the_rest():
    query, key = torch.randn(2, 2, 3, 4, dtype=torch.float64), torch.randn(2, 2, 5, 4, dtype=torch.float64)
    hidden = torch.tensor([0.0, 0.0, 0.0, -1e4, -1e4], dtype=torch.float64).view(1, 1, 1, 5)
    usual = attention_statistics(query, key, mask=hidden)
    raised = attention_statistics(query, key, mask=hidden + 1e4)
    for one, other in zip(usual, raised, strict=True):
        assert (one is None and other is None) or torch.allclose(one, other)
    assert raised.valid_keys.allclose(torch.full((2,), 0.6, dtype=raised.valid_keys.dtype))
