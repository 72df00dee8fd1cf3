"""Invariants of the measures of embeddings, activations and gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from edgeglass_diag.guard.strategies import batch_kinds, batches, embeddings, normal, pairs, seeds
from edgeglass_diag.measures.activations import activation_statistics, sample_activation, subset
from edgeglass_diag.measures.batches import fingerprint, repeated, row_fingerprints
from edgeglass_diag.measures.geometry import (
    alignment,
    between_sample_variance_ratio,
    effective_num_rows,
    effective_rank,
    mean_cosine,
    modality_gap,
    uniformity,
)
from edgeglass_diag.measures.gradients import norms, row_signals, sample, update_ratios

MEASURES = (between_sample_variance_ratio, effective_rank, mean_cosine, uniformity, effective_num_rows)


def close(one, other, tolerance=1e-3):
    assert float(one) == pytest.approx(float(other), rel=tolerance, abs=tolerance)


@given(embeddings(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows, random):
    order = torch.tensor(random.sample(range(len(rows)), len(rows)))
    for measure in MEASURES:
        close(measure(rows), measure(rows[order]))


@given(embeddings(), seeds())
def test_a_rotation_changes_nothing(rows, seed):
    rotation = torch.linalg.qr(normal((rows.shape[1], rows.shape[1]), seed).double()).Q
    for measure in MEASURES:
        close(measure(rows.double()), measure(rows.double() @ rotation))


@given(embeddings(), st.sampled_from([1e-2, 3.0, 1e4]))
def test_a_scale_changes_nothing(rows, factor):
    for measure in MEASURES:
        close(measure(rows.double()), measure(factor * rows.double()))


@given(embeddings())
def test_bounds(rows):
    count, width = rows.shape
    assert 1 - 1e-4 <= effective_rank(rows) <= min(count, width) + 1e-4
    assert 1 - 1e-3 <= effective_num_rows(rows) <= count + 1e-3
    assert -1e-6 <= between_sample_variance_ratio(rows) <= 1 + 1e-6
    assert -1 / (count - 1) - 1e-4 <= mean_cosine(rows) <= 1 + 1e-4
    assert -8 - 1e-4 <= uniformity(rows) <= 1e-4


@given(embeddings(), st.integers(2, 4))
def test_copies_of_the_whole_leave_rank_and_signal_alone(rows, times):
    copies = rows.repeat(times, 1)
    close(effective_rank(rows), effective_rank(copies))
    close(between_sample_variance_ratio(rows), between_sample_variance_ratio(copies))
    close(effective_num_rows(rows), effective_num_rows(copies))


@given(st.integers(1, 12), st.integers(12, 24), seeds())
def test_orthonormal_rows_are_all_distinct_and_of_full_rank(count, width, seed):
    rows = torch.linalg.qr(normal((width, count), seed).double()).Q.T
    close(effective_rank(rows), count)
    close(effective_num_rows(rows), count)


@given(st.integers(2, 12), st.integers(1, 24), seeds())
def test_equal_rows_are_one(count, width, seed):
    rows = normal((1, width), seed).expand(count, width)
    close(effective_rank(rows), 1)
    close(effective_num_rows(rows), 1)
    close(mean_cosine(rows), 1)
    close(uniformity(rows), 0)
    assert between_sample_variance_ratio(rows) < 1e-10


@given(embeddings(min_size=3))
def test_they_are_what_their_formulas_say(rows):
    values = rows.double()
    unit = normalize(values, dim=-1)
    count = len(rows)
    cosines = unit @ unit.T
    off = ~torch.eye(count, dtype=torch.bool)
    close(mean_cosine(values), cosines[off].mean())
    close(uniformity(values), torch.exp(-2 * torch.cdist(unit, unit).square())[off].mean().log())
    close(effective_num_rows(values), count**2 / cosines.square().sum())
    centred = values - values.mean(0)
    close(between_sample_variance_ratio(values), centred.square().sum() / values.square().sum())
    singular = torch.linalg.svdvals(values)
    close(effective_rank(values), torch.special.entr(singular / singular.sum()).sum().exp())


@given(pairs(), seeds())
def test_gap_and_alignment(pair, seed):
    image, text = (side.double() for side in pair)
    one, other = normalize(image, dim=-1), normalize(text, dim=-1)
    close(alignment(image, text), (2 - 2 * (one * other).sum(-1)).mean())
    close(modality_gap(image, text), (one.mean(0) - other.mean(0)).norm())
    assert 0 <= modality_gap(image, text) <= 2 + 1e-6
    close(alignment(image, image), 0)
    close(modality_gap(image, 5 * image), 0)
    rotation = torch.linalg.qr(normal((image.shape[1], image.shape[1]), seed).double()).Q
    close(alignment(image, text), alignment(3 * image @ rotation, text @ rotation))
    close(modality_gap(image, text), modality_gap(3 * image @ rotation, text @ rotation))
    assert modality_gap(image, text) ** 2 <= alignment(image, text) + 1e-6  # Jensen


def measured(tokens):
    """Statistics of one activation, 0-d each, the batch in front."""
    found = activation_statistics([sample_activation(tokens, 0)])
    return type(found)(*(value[0] for value in found))


@given(batches())
def test_activations_are_what_their_formulas_say(tokens):
    found = measured(tokens)
    part = subset(tokens, 0).double()
    close(found.rms / tokens.abs().max(), part.square().mean().sqrt() / tokens.abs().max())
    assert found.absmax == tokens.abs().max()
    assert found.nonfinite == 0
    close(found.sample_signal, between_sample_variance_ratio(part.flatten(1)))
    close(found.zeros, (part == 0).double().mean())


@given(batches(kind=batch_kinds("constant")))
def test_a_constant_batch_has_no_signal(tokens):
    assert measured(tokens).sample_signal < 1e-10


@given(batches(), st.sampled_from([float("nan"), float("inf"), -float("inf")]), seeds())
def test_what_is_not_finite_is_counted(tokens, value, seed):
    tokens.view(-1)[seed % tokens.numel()] = value
    assert measured(tokens).nonfinite >= 1


@given(batches(kind=batch_kinds("plain", "common", "tiny", "huge", "duplicates")))
def test_statistics_of_activations_scale_as_they_should(tokens):
    before, after = measured(tokens), measured(4 * tokens)
    assert float(after.rms) == pytest.approx(4 * float(before.rms), rel=1e-5)
    assert float(after.absmax) == pytest.approx(4 * float(before.absmax), rel=1e-6)
    close(before.sample_signal, after.sample_signal, 1e-5)


@given(st.lists(embeddings(), min_size=1, max_size=4))
def test_norms_and_updates(tensors):
    before = [tensor.double() for tensor in tensors]
    torch.testing.assert_close(norms(before), torch.stack([t.norm() for t in before]).float(), rtol=1e-4, atol=0)
    ratios = update_ratios(before, [1.5 * tensor for tensor in before])
    torch.testing.assert_close(ratios, torch.full((len(before),), 0.5), rtol=1e-4, atol=0)
    assert update_ratios(before, before).eq(0).all()
    for tensor in before:
        assert sample(tensor).numel() == tensor.numel()


@given(embeddings())
def test_row_signal_is_the_sample_signal_of_rows(rows):
    close(row_signals([rows])[0], between_sample_variance_ratio(rows), 1e-4)


@given(batches(kind=batch_kinds("plain", "common", "outliers")), seeds())
def test_repeated_samples_are_counted_whatever_their_order(tokens, seed):
    rows = row_fingerprints(tokens)
    count = len(tokens)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    assert repeated(rows) == 0
    doubled = torch.cat([tokens, tokens[order]])
    assert repeated(row_fingerprints(doubled)) == 0.5
    assert torch.equal(row_fingerprints(tokens[order]), rows[order])
    assert fingerprint(rows) == fingerprint(rows.clone())
    if not torch.equal(order, torch.arange(count)):
        assert fingerprint(rows) != fingerprint(rows[order])


def test_the_rank_of_gaussian_rows_grows_with_their_number():
    rows = normal((64, 64), 0)
    ranks = [float(effective_rank(rows[:count])) for count in (4, 16, 64)]
    assert ranks[0] < ranks[1] < ranks[2] < 64
    assert ranks[0] > 0.9 * 4
    assert math.isnan(effective_rank(torch.full((2, 2), math.nan)))
