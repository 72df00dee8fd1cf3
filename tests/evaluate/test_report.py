"""What an evaluation says, put together: agreed keys, chance, intervals, controls, and what is not finite."""

import math

import pytest
import torch

from edgeglass_diag.evaluation.curve import curve
from edgeglass_diag.evaluation.embeddings import make_embeddings
from edgeglass_diag.evaluation.geometry import geometry
from edgeglass_diag.evaluation.report import report
from edgeglass_diag.measures.geometry import alignment, effective_rank, modality_gap
from edgeglass_diag.measures.retrieval import place_pairs


def ordered(count=300, width=64, *, noise=0.3, captions=1):
    """Embeddings as a Matryoshka head makes them: the first dims say most."""
    generator = torch.Generator().manual_seed(1)
    share = 0.9 ** torch.arange(width)
    image = torch.randn(count, width, generator=generator) * share
    index = torch.arange(count).repeat_interleave(captions)
    text = image[index] + noise * torch.randn(len(index), width, generator=generator)
    return make_embeddings(image, text, index)


def test_the_agreed_keys_are_there():
    result = report(ordered(), [64, 32, 16, 8, 4])
    agreed = {"n_images", "n_texts", "chance", "i2t", "t2i", "ci95", "mrl", "geometry"}
    assert agreed | {"nonfinite", "duplicates", "curve"} == set(result)
    assert list(result["mrl"]) == ["64", "32", "16", "8", "4"]
    assert set(result["i2t"]) == {"R@1", "R@5", "R@10", "median_rank", "MRR"}
    assert result["i2t"] == result["mrl"]["64"]["i2t"]
    assert result["chance"]["R@5"] == result["chance"]["i2t"]["R@5"] == 5 / 300
    low, high = result["ci95"]["t2i"]["R@1"]
    assert low <= result["t2i"]["R@1"] <= high
    assert set(result["geometry"]) == {"modality_gap", "alignment", "uniformity", "effective_rank", "hubness"}
    assert "curve" not in report(ordered(), with_curve=False)


def test_the_full_width_is_always_there_and_a_wider_one_is_refused():
    assert list(report(ordered(), [8], with_curve=False)["mrl"]) == ["64", "8"]
    assert list(report(ordered(), with_curve=False)["mrl"]) == ["64", "32"]
    with pytest.raises(ValueError, match=r"dims must be in \[1, 64\], got \[65, 64\]"):
        report(ordered(), [65])


def test_several_captions_have_the_chance_of_their_number():
    result = report(ordered(20, captions=3), with_curve=False)
    assert (result["n_images"], result["n_texts"]) == (20, 60)
    assert result["chance"]["R@1"] == result["chance"]["t2i"]["R@1"] == 1 / 20
    assert result["chance"]["i2t"]["R@1"] == pytest.approx(3 / 60)
    assert result["chance"]["i2t"]["R@5"] == pytest.approx(1 - math.comb(57, 5) / math.comb(60, 5))


def test_an_ordered_head_beats_truncation_that_was_not_trained_for():
    dims = [64, 32, 16, 8, 4]
    rows = {(row["way"], row["dims"]): row for row in report(ordered(), dims)["curve"]["rows"]}
    assert rows["prefix", 8]["saved"] == 8
    assert rows["int8", 8]["saved"] == 32
    assert rows["binary", 64]["saved"] == 32
    assert ("pca", 64) not in rows
    for dim in dims[1:-1]:
        prefix, pca, *worse = (rows[way, dim]["t2i"]["R@1"] for way in ("prefix", "pca", "untrained", "random"))
        assert prefix > max(worse) + 0.02
        assert pca == pytest.approx(prefix, abs=0.05)  # the dims are the principal axes
        assert rows["int8", dim]["t2i"]["R@1"] == pytest.approx(prefix, abs=0.02)


def test_the_knee_is_where_the_curve_bends():
    embeddings, dims = ordered(), [64, 32, 16, 8, 4, 2, 1]
    found = report(embeddings, dims)["curve"]["knee"]
    assert found["dims"] in (4, 8)
    assert found["saved"] == 64 / found["dims"]
    assert "log2 width" in found["definition"]
    placed = place_pairs(embeddings.image, embeddings.text, dims=[64])
    assert curve(embeddings, [64], placed, [1], block=64)["knee"] is None


def test_geometry_is_that_of_the_measures():
    embeddings = ordered(captions=2)
    got = geometry(embeddings, block=64)[64]
    image, text = embeddings.image, embeddings.text
    assert got["modality_gap"] == pytest.approx(float(modality_gap(image, text)))
    assert got["alignment"] == pytest.approx(float(alignment(image[embeddings.image_of_text], text)))
    for name, side in (("image", image), ("text", text)):
        distances = torch.pdist(torch.nn.functional.normalize(side)).square()
        assert got["uniformity"][name] == pytest.approx(float((-2 * distances).exp().mean().log()), rel=1e-5)
        assert got["effective_rank"][name] == pytest.approx(float(effective_rank(side)))


def test_what_is_not_finite_is_counted_and_everything_else_still_measured():
    embeddings = ordered()
    embeddings.image[:30, 5] = torch.nan
    embeddings.text[299] = torch.inf
    result = report(embeddings, [64, 8])
    assert result["nonfinite"] == {"image": 30, "text": 1}
    assert result["i2t"]["R@10"] <= 269 / 300
    assert result["i2t"]["R@10"] > 0.85
    assert all(math.isfinite(value) for value in result["geometry"]["effective_rank"].values())
    assert all(math.isfinite(row["i2t"]["R@1"]) for row in result["curve"]["rows"])


def test_a_side_of_nothing_finite_gives_no_recall_and_no_geometry():
    embeddings = ordered(40)
    embeddings.image[:] = torch.nan
    result = report(embeddings)
    assert result["i2t"]["R@10"] == result["t2i"]["R@10"] == result["i2t"]["MRR"] == 0
    assert result["i2t"]["median_rank"] == math.inf
    assert math.isnan(result["geometry"]["modality_gap"])
    assert math.isnan(result["geometry"]["alignment"])


def test_one_pair_is_found():
    result = report(make_embeddings(torch.ones(1, 4), torch.ones(1, 4)))
    assert result["t2i"]["R@1"] == result["chance"]["R@10"] == 1
    assert math.isnan(result["geometry"]["uniformity"]["image"])
