"""Attention written by hand in all usual ways, compared with a float64 reference."""

import contextlib
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeglass_diag.measures.attention import attention_statistics
from edgeglass_diag.measures.sampling import strided_subset
from edgeglass_diag.record import Recorder
from edgeglass_diag.record.attention_layout import LOGITS
from tests.helpers.attending import KEEP, PAIRS, TINY, B, E, H, L, Net, S, attention_in, check, normal, window_of
from tests.helpers.attention_reference import of_logits, reference


def scaled_before(q, k, v):
    return (q / math.sqrt(E) @ k.transpose(-2, -1)).softmax(dim=-1) @ v


def scaled_after(q, k, v):
    return torch.matmul(F.softmax(torch.matmul(q, k.mT) * E**-0.5, -1), v)


def summed_by_einsum(q, k, v):
    weights = torch.einsum("bhqd,bhkd->bhqk", q, k / math.sqrt(E)).softmax(-1)
    return torch.einsum("bhqk, bkhd -> bqhd", weights, v.transpose(1, 2))


def in_a_lower_precision_after(q, k, v):
    weights = F.softmax(q @ k.mT * E**-0.5, dim=-1, dtype=torch.float32).to(q.dtype)
    return torch.matmul(F.dropout(weights, p=0.1, training=True), v).transpose(1, 2).contiguous()


def in_modules_of_their_own():
    layers = nn.ModuleList([nn.Softmax(dim=-1), nn.Dropout(0.2)])

    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = layers

        def forward(self, q, k, v):
            return layers[1](layers[0](q @ k.mT / math.sqrt(E))) @ v

    return Attends()


@pytest.mark.parametrize(
    "write", [scaled_before, scaled_after, summed_by_einsum, in_a_lower_precision_after, in_modules_of_their_own]
)
def test_explicit_attention(write):
    q, k, v = normal(0, B, H, L, E), normal(1, B, H, S, E), normal(2, B, H, S, E)
    own = write() if write is in_modules_of_their_own else None
    found = check(window_of(Net(write, own), q, k, v), reference(q, k))
    assert found["effective_num_outputs"].shape == (H,)


def test_outputs_of_an_einsum_are_told_apart_by_head():
    # As many queries as heads: only the equation tells which is which.
    q, k = normal(0, B, H, H, E), normal(1, B, H, S, E)
    v = normal(2, B, H, S, 8)
    found = {
        write: attention_in(window_of(Net(write), q, k, v))["inner.attention"]
        for write in (scaled_before, summed_by_einsum)
    }
    torch.testing.assert_close(
        found[summed_by_einsum]["effective_num_outputs"],
        found[scaled_before]["effective_num_outputs"],
        atol=1e-5,
        rtol=0,
    )


def fills(logits, keep, fill):
    return logits.masked_fill(~keep, fill)


def adds(logits, keep, fill):
    return logits + torch.zeros(keep.shape).masked_fill(~keep, fill)


def adds_to(logits, keep, fill):
    return torch.add(torch.zeros(keep.shape).masked_fill(~keep, fill), logits)


def chooses(logits, keep, fill):
    return torch.where(keep, logits, fill)


@pytest.mark.parametrize("fill", [-math.inf, TINY, -1e4])
@pytest.mark.parametrize("masks", [fills, adds, adds_to, chooses])
@pytest.mark.parametrize("keep", [KEEP, PAIRS])
def test_explicit_attention_with_a_mask(fill, masks, keep):
    q, k = normal(0, B, H, L, E), normal(1, B, H, S, E)
    write = Net(lambda q, k: masks(q @ k.mT / math.sqrt(E), keep, fill).softmax(-1).nan_to_num() @ k)
    check(window_of(write, q, k), reference(q, k, keep))


@pytest.mark.parametrize("fill", [-math.inf, TINY, -1e4])
def test_a_mask_put_in_place_is_told_by_its_size(fill):
    q, k = normal(0, B, H, L, E), normal(1, B, H, S, E)

    def write(q, k):
        logits = q @ k.mT / math.sqrt(E)
        logits.masked_fill_(~KEEP, fill)
        return logits.softmax(-1) @ k

    # What it hides was gone before anybody could see it.
    check(window_of(Net(write), q, k), reference(q, k, KEEP), unknown=("padding_mass",))


@pytest.mark.parametrize("masks", [fills, adds])
def test_pooling_with_a_mask(masks):
    scores, x, keep = normal(0, B, S), normal(1, B, S, E), KEEP[:, 0, 0]
    window = window_of(Net(lambda s, x: (masks(s, keep, -1e4).softmax(-1)[..., None] * x).sum(1)), scores, x)
    rows = scores[:, None, None].double()
    expected = of_logits(rows, KEEP, rows, ~KEEP)
    check(window, expected, unknown=() if masks is fills else ("padding_mass",))


def test_two_attentions_whose_weights_wait_at_the_same_time_keep_apart():
    q, k = normal(0, B, H, L, E), normal(1, B, H, S, E)

    def write(q, k):
        one, other = (q @ k.mT).softmax(-1), (3 * q @ k.mT).softmax(-1)
        return (one * 1.0).clone() @ k + other @ k

    found = attention_in(window_of(Net(write), q, k))
    for site, scale in (("inner.attention", 1.0), ("inner.attention#1", 3.0)):
        torch.testing.assert_close(found[site]["entropy"], reference(q, k, scale=scale)["entropy"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("write", [scaled_before, summed_by_einsum, in_a_lower_precision_after])
def test_watched_gradients_are_bit_identical(write):
    q, k, v = normal(0, 32, H, 40, E), normal(1, 32, H, 40, E), normal(2, 32, H, 40, E)
    keep = normal(3, 32, 1, 1, 40) > 0
    gradients = []
    for watched in (False, True):
        torch.manual_seed(0)
        model = Net(lambda q, k, v: write(q, k, v) + (q @ k.mT).masked_fill(~keep, TINY).softmax(-1).sum())
        with Recorder(lambda step: True, lambda w: None) if watched else contextlib.nullcontext():
            model(q, k, v).square().sum().backward()
        gradients.append(model.gain.grad)
    assert torch.equal(*gradients)


def test_large_masked_logits_are_sampled():
    q, k, keep = normal(0, 32, 2, 150, 8), normal(1, 32, 2, 150, 8), normal(2, 32, 1, 1, 150) > 0
    subset = strided_subset(32, 150, 300, LOGITS)
    assert subset.size != subset.population
    expected = attention_statistics(q, k, mask=keep, scale=1.0, subset=subset)._asdict()
    for masks in (fills, adds):
        window = window_of(Net(lambda q, k, masks=masks: masks(q @ k.mT, keep, -math.inf).softmax(-1) @ k), q, k)
        check(window, {name: value.double() for name, value in expected.items()})


@pytest.mark.parametrize("product", ["bmm", "baddbmm"])
def test_heads_folded_into_the_batch_are_one_component(product):
    q, k = normal(0, B * H, L, E), normal(1, B * H, S, E)
    bias = normal(2, B * H, 1, S).masked_fill(normal(3, B * H, 1, S) > 1, TINY)

    def write(q, k):
        if product == "bmm":
            return torch.bmm(torch.bmm(q, k.mT).softmax(-1), k)
        return torch.bmm(torch.baddbmm(bias, q, k.mT, beta=1, alpha=0.3).softmax(-1), k)

    mask, scale = (None, 1.0) if product == "bmm" else (bias[:, None], 0.3)
    found = check(window_of(Net(write), q, k), reference(q[:, None], k[:, None], mask, scale=scale))
    assert len(found["entropy"]) == len(found["effective_num_outputs"]) == 1


def test_windows_of_five_dimensions_are_one_component():
    q, k = normal(0, B, 2, H, L, E), normal(1, B, 2, H, S, E)
    logits = (q @ k.mT).double().flatten(0, 2)[:, None]
    window = window_of(Net(lambda q, k: (q @ k.mT).softmax(-1) @ k), q, k)
    check(window, of_logits(logits, torch.ones(logits.shape, dtype=torch.bool)))


def pooled_rows(scores, x):
    return (scores.softmax(-1).unsqueeze(-1) * x).sum(1)


def pooled_rows_by_product(scores, x):
    return torch.bmm(F.softmax(scores, dim=1).unsqueeze(1), x).squeeze(1)


def pooled_column(scores, x):
    return (torch.softmax(scores.unsqueeze(-1), dim=1) * x).sum(dim=1)


def pooled_column_by_einsum(scores, x):
    return torch.einsum("bn,bnd->bd", [scores.unsqueeze(-1).softmax(1).squeeze(-1), x])


@pytest.mark.parametrize("write", [pooled_rows, pooled_rows_by_product, pooled_column, pooled_column_by_einsum])
def test_pooling_by_scores(write):
    scores, x = normal(0, B, S), normal(1, B, S, E)
    expected = of_logits(scores[:, None, None].double(), torch.ones(B, 1, 1, S, dtype=torch.bool))
    found = check(window_of(Net(write), scores, x), expected)
    assert "effective_num_outputs" not in found


def test_scores_over_the_first_of_two_dimensions_have_the_rest_as_queries():
    scores, x = normal(0, B, S, L), normal(1, B, S, E)
    logits = scores.mT[:, None].double()
    window = window_of(Net(lambda s, x: s.softmax(dim=1).transpose(1, 2) @ x), scores, x)
    check(window, of_logits(logits, torch.ones(logits.shape, dtype=torch.bool)))
