"""Invariants of ranks, recalls, losses, and of what MRL makes of them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from edgeglass_diag.guard.strategies import normal, pairs, seeds
from edgeglass_diag.measures.bootstrap import bootstrap_interval
from edgeglass_diag.measures.chance import (
    chance_loss,
    contrastive_ceiling,
    contrastive_floor,
    wrong_answers_floor,
)
from edgeglass_diag.measures.contrast import (
    accuracy,
    cosines,
    logit_scale,
    logit_statistics,
    scale_of_products,
    valid_logits,
)
from edgeglass_diag.measures.prefixes import halvings, principal_axes, random_rotation
from edgeglass_diag.measures.quantisation import to_binary, to_int8
from edgeglass_diag.measures.ranking import chance_of_hit, expected_rank, hits, mean_reciprocal_rank, median_rank
from edgeglass_diag.measures.retrieval import TIE, place_pairs
from edgeglass_models.losses import clip_loss
from edgeglass_models.mrl import MatryoshkaHead

SCALES = st.sampled_from([0.5, 1.0, 14.3, 100.0])


def recalls(image, text, ks=(1, 2, 5, 10), **options):
    return [[float(hits(side, k).mean()) for k in ks] for side in place_pairs(image, text, **options)]


def rounding_decides(image, text):
    """Whether a distractor lies so near the edge of a tie with the match that the last bit of a cosine decides."""
    image, text = (normalize(side.double(), dim=-1) for side in (image, text))
    table = image @ text.T
    own = table.diagonal()
    apart = torch.stack([(table - own[:, None]).abs(), (table - own).abs()])
    return bool(((apart > TIE / 2) & (apart < 2 * TIE)).any())


@given(pairs())
def test_recall_grows_with_k_up_to_one(pair):
    count = len(pair[0])
    for side in recalls(*pair, ks=(1, 2, 5, count)):
        assert side[0] >= 0
        assert side == sorted(side)
        assert side[-1] == pytest.approx(1)


@given(st.integers(3, 12), st.integers(4, 32), st.sampled_from([0.0, 0.1, 0.5, 1.0]), seeds())
def test_ranks_are_those_of_a_plain_sort_where_nothing_ties(count, width, share, seed):
    image = normal((count, width), seed)
    pair = image, (1 - share) * image + share * normal((count, width), seed + 1)
    image, text = (normalize(side.double(), dim=-1) for side in pair)
    table = image @ text.T
    gaps = torch.cat([table.sort(1).values.diff(dim=1).flatten(), table.sort(0).values.diff(dim=0).flatten()])
    assume(gaps.min() > 1e-5)
    own = table.diagonal()
    i2t, t2i = place_pairs(*pair)
    assert torch.equal(expected_rank(i2t)[0], 1.0 + (table > own[:, None]).sum(1))
    assert torch.equal(expected_rank(t2i)[0], 1.0 + (table > own[None]).sum(0))
    ranks = expected_rank(i2t)[0]
    assert float(median_rank(i2t)[0]) == pytest.approx(float(ranks.quantile(0.5)))
    assert float(mean_reciprocal_rank(i2t)[0]) == pytest.approx(float((1 / ranks).mean()))


@given(pairs(), seeds(), st.sampled_from([1e-3, 7.0]))
def test_order_rotation_and_scale_do_not_matter(pair, seed, factor):
    assume(not rounding_decides(*pair))
    image, text = (side.double() for side in pair)
    order = torch.randperm(len(image), generator=torch.Generator().manual_seed(seed))
    rotation = torch.linalg.qr(normal((image.shape[1], image.shape[1]), seed).double()).Q
    before = recalls(image, text)
    for changed in ((image[order], text[order]), (image @ rotation, text @ rotation), (factor * image, text)):
        assert recalls(*changed) == [pytest.approx(side, abs=1e-9) for side in before]


@given(pairs())
def test_sides_change_places(pair):
    assume(not rounding_decides(*pair))
    image, text = pair
    assert recalls(image, text) == recalls(text, image)[::-1]


@given(st.integers(2, 40), st.integers(1, 16), seeds(), st.integers(1, 12))
def test_a_constant_side_recalls_exactly_k_of_n(count, width, seed, k):
    image, text = normal((1, width), seed).expand(count, width), normal((count, width), seed + 1)
    expected = min(k / count, 1)
    assert recalls(image, text, ks=(k,)) == [[pytest.approx(expected)], [pytest.approx(expected)]]
    assert chance_of_hit(k, count, torch.ones(count)) == pytest.approx(expected)


@given(pairs(), st.integers(1, 3))
def test_more_captions_of_an_image_never_hide_it(pair, times):
    assume(not rounding_decides(*pair))
    image, text = pair
    owner = torch.arange(len(image)).repeat(times)
    i2t, t2i = recalls(image, text.repeat(times, 1), image_of_text=owner)
    one_i2t, one_t2i = recalls(image, text)
    assert t2i == pytest.approx(one_t2i)
    assert all(more >= one - 1e-9 for more, one in zip(i2t, one_i2t, strict=True)) or times > 1


@given(pairs(max_width=16), st.data())
def test_a_prefix_is_sliced_then_compared_and_the_full_width_is_plain(pair, data):
    image, text = pair
    width = image.shape[1]
    dim = data.draw(st.integers(1, width))
    assume(not rounding_decides(image, text) and not rounding_decides(image[:, :dim], text[:, :dim]))
    whole = place_pairs(image, text, dims=[dim, width])
    plain, sliced = place_pairs(image, text), place_pairs(image[:, :dim], text[:, :dim])
    for side in range(2):
        for row, other in enumerate((sliced, plain)):
            assert torch.equal(whole[side].better[row], other[side].better[0])
            assert torch.equal(whole[side].rivals[row], other[side].rivals[0])


@given(pairs(), st.integers(1, 7))
def test_the_size_of_blocks_does_not_matter(pair, block):
    assume(not rounding_decides(*pair))
    for one, other in zip(place_pairs(*pair), place_pairs(*pair, block=block), strict=True):
        assert torch.equal(one.better, other.better)
        assert torch.equal(one.rivals, other.rivals)


@given(pairs(min_size=2), SCALES)
def test_the_loss_lies_between_its_bounds(pair, scale):
    image, text = (normalize(side.double(), dim=-1) for side in pair)
    count = len(image)
    loss = float(clip_loss(image, text, scale))
    assert contrastive_floor(scale, count) - 1e-6 <= loss <= contrastive_ceiling(scale, count) + 1e-6
    table = scale * image @ text.T
    labels = torch.arange(count)
    everything = torch.ones(count, dtype=torch.bool)
    for logits in (table, table.T):
        right = float(accuracy(logits, labels, everything))
        single = float(torch.nn.functional.cross_entropy(logits, labels))
        assert single >= wrong_answers_floor(right) - 1e-9 or right < 1
        wrong = logits.argmax(-1) != labels
        assert single >= float(wrong.double().mean()) * math.log(2) - 1e-9


@given(pairs(min_size=2), SCALES)
def test_the_loss_is_the_mean_of_both_directions(pair, scale):
    image, text = (normalize(side.double(), dim=-1) for side in pair)
    table = scale * image @ text.T
    rows = (table.logsumexp(1) - table.diagonal()).mean()
    columns = (table.logsumexp(0) - table.diagonal()).mean()
    assert float(clip_loss(image, text, scale)) == pytest.approx(float(rows + columns) / 2, abs=1e-6)


@given(st.integers(2, 64), SCALES, seeds())
def test_a_constant_side_costs_chance_and_a_simplex_the_floor(count, scale, seed):
    rows = normalize(normal((count, 8), seed).double(), dim=-1)
    constant = rows[:1].expand_as(rows)
    assert float(clip_loss(constant, constant, scale)) == pytest.approx(chance_loss(count))
    corners = torch.eye(count, dtype=torch.float64) - 1 / count
    simplex = normalize(corners, dim=-1)
    assert float(clip_loss(simplex, simplex, scale)) == pytest.approx(contrastive_floor(scale, count), abs=1e-6)
    assert contrastive_floor(scale, count) < chance_loss(count) < contrastive_ceiling(scale, count)


@given(pairs(max_width=16), st.data())
def test_the_head_slices_then_normalises(pair, data):
    image = pair[0]
    width = image.shape[1]
    dim = data.draw(st.integers(1, width))
    head = MatryoshkaHead(width, [dim, width])
    torch.testing.assert_close(head(image, dim), normalize(image[:, :dim], dim=-1))
    torch.testing.assert_close(head(image, width), head(image))
    torch.testing.assert_close(head(image, dim).norm(dim=-1), torch.ones(len(image)), rtol=1e-4, atol=1e-4)


@given(pairs(min_size=3), st.sampled_from([0.5, 14.3, 100.0]), st.sampled_from([0.0, -3.0]))
def test_the_scale_is_read_off_the_logits(pair, scale, bias):
    image, text = (side.double() for side in pair)
    table = cosines(image, text)
    assume(table.var() > 1e-3)
    assert float(logit_scale(scale * table + bias, table)) == pytest.approx(scale, rel=1e-6)
    assert float(logit_scale((scale * table + bias).T, table)) == pytest.approx(scale, rel=1e-6)
    lengths = 100 * torch.arange(1, len(image) + 1)[:, None]
    products = lengths * normalize(image, dim=-1) @ normalize(text, dim=-1).T
    length = float((products.square().mean() / table.square().mean()).sqrt())
    found_scale = float(
        scale_of_products(scale * products + bias, lengths * normalize(image, dim=-1), 2 * normalize(text, dim=-1))
    )
    assert found_scale == pytest.approx(scale * length, rel=1e-5)
    logits = scale * table
    found = logit_statistics(logits, valid_logits(logits))
    assert float(found.logit_std) == pytest.approx(float(logits.var(1, correction=0).mean().sqrt()), rel=1e-6)
    assert float(found.logit_max) == pytest.approx(float(logits.abs().max()))
    assert found.is_probability == 0
    softmax = logits.softmax(-1)
    assert logit_statistics(softmax, valid_logits(softmax)).is_probability == 1


@given(pairs())
def test_few_bits_keep_what_they_can(pair):
    image, text = (normalize(side, dim=-1) for side in pair)
    rough = to_int8(image, text)
    for side, codes in zip((image, text), rough, strict=True):
        step = torch.maximum(image.abs().amax(0), text.abs().amax(0)) / 127
        assert ((side - codes).abs() <= 0.5001 * step + 1e-9).all()
        assert torch.equal(to_int8(*rough)[0], rough[0]) or torch.allclose(to_int8(*rough)[0], rough[0], atol=1e-6)
    for codes, side in zip(to_binary(image, text), (image, text), strict=True):
        assert torch.equal(codes, torch.where(side > 0, 1.0, -1.0))


@given(st.integers(2, 24), seeds(), st.sampled_from([0.5, 0.95]))
def test_an_interval_holds_the_mean_and_grows_with_its_level(count, seed, level):
    values = (normal((count, 1), seed) > 0).double()
    low, high = bootstrap_interval(values, torch.arange(count), resamples=200, seed=seed % 7, level=level)
    wide = bootstrap_interval(values, torch.arange(count), resamples=200, seed=seed % 7, level=0.99)
    assert 0 <= wide[0] <= low <= high <= wide[1] <= 1
    assert low <= values.mean() + 0.2
    assert high >= values.mean() - 0.2
    one = bootstrap_interval(values, torch.zeros(count), resamples=20)
    assert one.flatten().tolist() == pytest.approx([float(values.mean())] * 2)


@given(st.integers(2, 16), seeds())
def test_rotations_keep_cosines(width, seed):
    rows = normal((5, width), seed).double()
    turned = rows @ random_rotation(width, width, seed=seed % 11).double()
    torch.testing.assert_close(cosines(rows, rows), cosines(turned, turned), rtol=1e-4, atol=1e-5)
    axes = principal_axes(rows.float(), rows.float()).double()
    torch.testing.assert_close(axes.T @ axes, torch.eye(width, dtype=torch.float64), rtol=1e-4, atol=1e-4)
    variance = ((rows - rows.mean(0)) @ axes).var(0)
    assert (variance.diff() <= 1e-4 * variance[0] + 1e-9).all()
    assert halvings(width)[0] == width
