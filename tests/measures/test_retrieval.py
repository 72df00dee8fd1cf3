"""Retrieval against a slow reference, its invariants, its tie rule, what is not finite, and its refusals."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeglass_diag.measures.ranking import chance_of_hit, expected_rank, hits, mean_reciprocal_rank, median_rank
from edgeglass_diag.measures.retrieval import place_pairs, unit_rows
from tests.helpers.retrieval_reference import both_ways, recall

quick = settings(deadline=None, max_examples=40, derandomize=True)  # a score may fall on the edge of a tie


def drawn(seed, *, images=None, width=None, integers=False):
    """Images and some captions of each; small integers give real ties."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 12, (2,), generator=generator).tolist()
    images, width = images or 2 * sizes[0], width or sizes[1] + 1
    owner = torch.randint(images, (images + sizes[1],), generator=generator)
    image = torch.randn(images, width, generator=generator)
    text = image[owner] + 0.7 * torch.randn(len(owner), width, generator=generator)
    if integers:
        image, text = image.round() + 0.0, text.round() + 0.0
        image[(image == 0).all(1), 0] = 1
        text[(text == 0).all(1), 0] = 1
    return image, text, owner


def recalls(placement, ks=(1, 3, 5)):
    return [hits(placement, k).mean(1).tolist() for k in ks]


@given(st.integers(0, 9999), st.booleans(), st.integers(1, 9))
@quick
def test_every_number_equals_the_slow_one_for_any_block(seed, integers, block):
    image, text, owner = drawn(seed, integers=integers)
    for placed, slow in zip(place_pairs(image, text, owner, block=block), both_ways(image, text, owner), strict=True):
        assert torch.stack([placed.better[0], placed.rivals[0], placed.relevant[0]], 1).tolist() == list(
            map(list, slow)
        )
        for k in (1, 3, 5, 100):
            assert float(hits(placed, k).mean()) == pytest.approx(recall(slow, k), abs=1e-12)
        ranks = [1 + better + rivals / (relevant + 1) for better, rivals, relevant in slow]
        assert expected_rank(placed)[0].tolist() == pytest.approx(ranks)
        assert float(median_rank(placed)) == pytest.approx(np.median(ranks))
        assert float(mean_reciprocal_rank(placed)) == pytest.approx(np.mean(1 / np.array(ranks)))


@given(st.integers(0, 9999), st.integers(1, 9))
@quick
def test_prefixes_in_one_pass_equal_a_pass_for_each(seed, block):
    image, text, owner = drawn(seed, width=9)
    together = place_pairs(image, text, owner, dims=[9, 2, 5], block=block)
    for row, dim in enumerate([9, 2, 5]):
        alone = place_pairs(image[:, :dim], text[:, :dim], owner)
        for way, single in zip(together, alone, strict=True):
            assert torch.equal(expected_rank(way)[row], expected_rank(single)[0])


@given(st.integers(0, 9999))
@quick
def test_recall_rises_with_k_and_reaches_one(seed):
    image, text, owner = drawn(seed, integers=True)
    for placed in place_pairs(image, text, owner):
        previous = torch.zeros_like(placed.better)
        for k in range(1, len(text) + len(image) + 1):
            assert (hits(placed, k) >= previous - 1e-12).all()
            previous = hits(placed, k)
        assert torch.allclose(previous, torch.ones_like(previous))


@given(st.integers(0, 9999))
@quick
def test_order_rotation_and_scale_change_nothing(seed):
    image, text, owner = drawn(seed, width=6)
    generator = torch.Generator().manual_seed(seed)
    plain = [recalls(placed) for placed in place_pairs(image, text, owner)]
    images, texts = (torch.randperm(len(side), generator=generator) for side in (image, text))
    shuffled = place_pairs(image[images], text[texts], images.argsort()[owner[texts]])
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator))[0]
    scale = torch.logspace(-25, 25, len(image)).unsqueeze(1)  # far beyond what float32 can square
    for other in (
        shuffled,
        place_pairs(image @ rotation, text @ rotation, owner),
        place_pairs(image * scale, text, owner),
    ):
        for got, expected in zip(other, plain, strict=True):
            assert recalls(got) == pytest.approx(np.array(expected), abs=1e-12)


def test_queries_keep_their_order():
    image, text, owner = drawn(3, images=8, width=5)
    i2t, t2i = place_pairs(image, text, owner)
    assert i2t.image.tolist() == sorted(set(owner.tolist()))
    assert t2i.image.tolist() == owner.tolist()
    reverse = place_pairs(image, text.flip(0), owner.flip(0))[1]
    assert torch.equal(expected_rank(reverse), expected_rank(t2i).flip(1))


@pytest.mark.parametrize("width", [16, 4096])
@pytest.mark.parametrize("constant", ["image", "text"])
def test_a_constant_side_gives_exactly_k_over_n(constant, width):
    generator = torch.Generator().manual_seed(0)
    same = torch.randn(width, generator=generator) * torch.logspace(-9, 9, 200).unsqueeze(1)
    varied = torch.randn(200, width, generator=generator)
    sides = (same, varied) if constant == "image" else (varied, same)
    for placed in place_pairs(*sides, dims=[width, width // 2], block=64):
        assert recalls(placed, (1, 5, 10)) == pytest.approx(np.array([[k / 200] * 2 for k in (1, 5, 10)]), abs=1e-12)
        assert median_rank(placed).tolist() == [100.5, 100.5]


def test_all_equal_gives_the_chance_of_several_captions():
    owner = torch.tensor([0, 0, 0, 1, 2, 2])
    i2t, t2i = place_pairs(torch.ones(4, 3), torch.ones(6, 3), owner)
    for k in (1, 2, 5):
        assert float(hits(i2t, k).mean()) == pytest.approx(chance_of_hit(k, 6, torch.tensor([3, 1, 2])))
        assert float(hits(t2i, k).mean()) == pytest.approx(k / 4 if k < 4 else 1)
    assert chance_of_hit(1, 6, torch.tensor([3, 1, 2])) == pytest.approx((3 + 1 + 2) / 6 / 3)


def test_a_duplicate_pair_shares_its_rank():
    image = torch.eye(4)[[0, 0, 1, 2]]
    i2t, t2i = place_pairs(image, image)
    for placed in (i2t, t2i):
        assert expected_rank(placed)[0].tolist() == [1.5, 1.5, 1, 1]
        assert hits(placed, 1)[0].tolist() == [0.5, 0.5, 1, 1]


def test_what_is_not_finite_is_a_miss_and_stands_behind_all():
    image, text = torch.eye(5), torch.eye(5)
    image[1, 2], text[3, 0], text[4] = torch.nan, torch.inf, torch.nan
    i2t, t2i = place_pairs(image, text, dims=[5, 2])
    assert hits(i2t, 5)[0].tolist() == [1, 0, 1, 0, 0]
    assert hits(t2i, 5)[0].tolist() == [1, 0, 1, 0, 0]
    assert expected_rank(t2i)[0].tolist() == [1, torch.inf, 1, torch.inf, torch.inf]
    assert float(mean_reciprocal_rank(t2i)[0]) == 0.4
    # the bad caption of an image with another one is no match; the image is still found by the good one
    several = place_pairs(torch.eye(2), torch.tensor([[torch.nan, 0], [1, 0], [0, 1]]), torch.tensor([0, 0, 1]))
    assert hits(several[0], 1)[0].tolist() == [1, 1]
    assert hits(several[1], 1)[0].tolist() == [0, 1, 1]


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_unit_rows_lose_nothing_but_float32(kind):
    values = torch.randn(20, 33, generator=torch.Generator().manual_seed(0)).to(kind)
    values[3] = 0
    if kind == torch.float64:
        values[1:3] *= torch.tensor([[1e200], [1e-200]], dtype=kind)
    expected = values.double() / torch.linalg.vector_norm(values.double(), dim=1, keepdim=True).clamp(min=1e-300)
    if kind == torch.float64:
        expected[1:3] = torch.nn.functional.normalize(values[1:3] * torch.tensor([[1e-200], [1e200]], dtype=kind))
    assert unit_rows(values, block=7).dtype == torch.float32
    assert torch.allclose(unit_rows(values, block=7).double(), expected, rtol=0, atol=2e-7)


def test_half_precision_is_read_as_it_is():
    image, text, owner = drawn(5, images=30, width=8)
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        got = place_pairs(image.to(kind), text.to(kind), owner)
        expected = place_pairs(image.to(kind).float(), text.to(kind).float(), owner)
        assert torch.equal(expected_rank(got[0]), expected_rank(expected[0]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_an_accelerator_gives_the_same():
    image, text, owner = drawn(5, images=300, width=64)
    here = place_pairs(image, text, owner, dims=[64, 16])
    there = place_pairs(image.cuda(), text.cuda(), owner.cuda(), dims=[64, 16])
    for one, other in zip(here, there, strict=True):
        assert torch.equal(expected_rank(one), expected_rank(other).cpu())


@pytest.mark.skipif("EDGEGLASS_CLIP_EMBEDDINGS" not in os.environ, reason="EDGEGLASS_CLIP_EMBEDDINGS names no file")
def test_real_clip_embeddings_give_what_others_measured():
    image, text = torch.from_numpy(np.load(Path(os.environ["EDGEGLASS_CLIP_EMBEDDINGS"]), allow_pickle=False))
    i2t, _ = place_pairs(image, text, dims=[512, 256, 128, 64, 32])
    assert hits(i2t, 1).mean(1).tolist() == pytest.approx([0.552, 0.348, 0.288, 0.116, 0.056], abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": torch.ones(3, 2), "text": torch.ones(3, 4)}, r"\(N, D\) and \(M, D\), got \(3, 2\) and \(3, 4\)"),
        ({"image": torch.ones(0, 2), "text": torch.ones(0, 2)}, "must not be empty"),
        ({"image": torch.ones(3, 2), "text": torch.ones(4, 2)}, r"in \[0, 3\), got 0 to 3"),
        ({"image": torch.ones(3, 2), "text": torch.ones(3, 2), "dims": [3]}, r"in \[1, 2\], got \[3\]"),
        ({"image": torch.ones(3, 2), "text": torch.ones(3, 2), "dims": []}, r"in \[1, 2\], got \[\]"),
        ({"image": torch.ones(3, 2), "text": torch.ones(3, 2), "block": 0}, "block must be at least 1, got 0"),
        (
            {"image": torch.ones(3, 2), "text": torch.ones(3, 2), "image_of_text": torch.zeros(2)},
            r"image_of_text must be \(3,\), one image per caption, got \(2,\)",
        ),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        place_pairs(**arguments)


def test_a_k_below_one_is_refused():
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        hits(place_pairs(torch.eye(2), torch.eye(2))[0], 0)
