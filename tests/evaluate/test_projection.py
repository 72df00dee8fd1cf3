"""Projections: deterministic, a constant side is one point, and too few points have a message."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.decomposition import PCA

from edgeglass_diag.evaluation.frames import density_frame, occurrence_frame, spectrum_frame
from edgeglass_diag.evaluation.pairs import sample_pairs
from edgeglass_diag.evaluation.projection import METHODS, project
from edgeglass_diag.evaluation.render import sample_size


def pairs(count=40, width=16, *, noise=0.3, seed=0):
    drawn = np.random.default_rng(seed)
    image = drawn.standard_normal((count, width)).astype(np.float32)
    return image, image + noise * drawn.standard_normal((count, width)).astype(np.float32)


def places(seen, side):
    return seen.points.loc[seen.points["side"] == side, ["x", "y"]].to_numpy()


USUAL = [pytest.param(method, marks=pytest.mark.long if method == "umap" else ()) for method in METHODS]
"""The first use of umap compiles it for half a minute; it draws in test_eval.py as well."""


@pytest.mark.parametrize("method", USUAL)
def test_each_method_draws_both_sides_and_always_the_same(method):
    sample = sample_pairs(*pairs())
    first, again = project(sample, method), project(sample, method)
    assert first.points.equals(again.points)
    assert np.isfinite(first.points[["x", "y"]]).all(axis=None)
    assert first.points.groupby("side")["pair"].apply(list).to_dict() == {
        side: [*range(40)] for side in ("image", "text")
    }
    apart = np.linalg.norm(places(first, "image") - places(first, "text"), axis=1).mean()
    mixed = np.linalg.norm(places(first, "image") - np.roll(places(first, "text"), 7, axis=0), axis=1).mean()
    assert apart < 0.6 * mixed  # pairs stay neighbours


@pytest.mark.parametrize("method", USUAL)
def test_a_constant_side_is_one_point_and_not_a_blown_up_rounding_error(method):
    image, text = pairs()
    image[:] = image[0] * (1 + 1e-7 * np.random.default_rng(1).standard_normal(image.shape))
    seen = project(sample_pairs(image, text), method)
    assert np.ptp(places(seen, "image"), axis=0).tolist() == [0, 0]
    assert np.ptp(places(seen, "text"), axis=0).min() > 0
    assert "the image side is constant: all its embeddings are one point" in seen.notes


def test_principal_axes_are_those_of_sklearn():
    sample = sample_pairs(*pairs())
    seen, reference = project(sample, "pca"), PCA(2)
    flat = reference.fit_transform(np.concatenate([sample.image, sample.text]))
    assert np.abs(seen.points[["x", "y"]].to_numpy()) == pytest.approx(np.abs(flat), abs=1e-9)
    assert f"{reference.explained_variance_ratio_[0]:.0%}" in seen.axes[0]


def test_duplicates_fall_on_each_other():
    image, text = pairs(12)
    seen = project(sample_pairs(np.repeat(image, 5, 0), np.repeat(text, 5, 0)), "tsne")
    assert len(np.unique(places(seen, "image"), axis=0)) == 12


@pytest.mark.parametrize(
    ("count", "method", "words"),
    [
        (1, "pca", "1 pair to show: a projection needs at least 2"),
        (4, "tsne", "8 distinct points are too few for neighbourhoods, which need at least 10"),
        (4, "umap", "8 distinct points are too few"),
    ],
)
def test_too_few_pairs_have_an_empty_state(count, method, words):
    seen = project(sample_pairs(*pairs(count)), method)
    assert words in seen.empty
    assert seen.points.empty
    assert list(seen.points.columns) == ["side", "pair", "x", "y"]


def test_two_constant_sides_and_no_finite_pair():
    image = np.ones((20, 4))
    assert project(sample_pairs(image, image), "tsne").empty == "both sides are one and the same point"
    assert "no pair to show" in project(sample_pairs(image * np.nan, image), "pca").empty
    assert project(sample_pairs(*pairs(3)), "pca").empty == ""


def test_two_different_points_lie_on_a_line():
    points = project(sample_pairs(np.ones((6, 1)), -np.ones((6, 1))), "pca").points
    assert sorted(points["x"].round(6).unique()) == [-1, 1]
    assert points["y"].tolist() == [0] * 12


def test_pairs_that_are_not_finite_are_left_out_and_counted():
    image, text = pairs(30)
    image[3, 2], text[5, 1] = np.nan, np.inf
    sample = sample_pairs(image, text)
    assert (len(sample), sample.total, sample.dropped) == (28, 30, 2)
    assert sample_size(sample) == "28 pairs; 2 left out: not finite"
    assert {3, 5}.isdisjoint(project(sample, "pca").points["pair"])


def test_the_sample_is_bounded_and_keeps_captions_with_their_images():
    image, text = pairs(50)
    owner = np.repeat(np.arange(50), 3)
    sample = sample_pairs(image, np.repeat(text, 3, 0), owner, limit=20)
    assert len(sample) == 20
    assert sample_size(sample) == "20 of 150 pairs, drawn at random"
    assert sample.owner.tolist() == (sample.caption // 3).tolist()
    assert sample.image == pytest.approx(sample_pairs(image, text, limit=50).image[sample.owner])
    with pytest.raises(ValueError, match="expected a row of 50 images for each of 3 captions"):
        sample_pairs(image, text[:3], np.array([0, 1, 50]))


def test_captions_of_one_image_are_no_non_pairs():
    image, text = pairs(3)
    frame = density_frame(sample_pairs(image, np.repeat(text, 2, 0), np.repeat(np.arange(3), 2)))
    assert frame.groupby("kind")["count"].first().to_dict() == {"pairs": 6, "non-pairs": 24}
    assert len(occurrence_frame(sample_pairs(image, np.repeat(text, 2, 0), np.repeat(np.arange(3), 2)))) == 3 + 6


def test_frames_of_constant_zero_and_single_sides():
    constant = density_frame(sample_pairs(np.ones((9, 4)), np.ones((9, 4))))
    assert np.isinf(constant["density"]).all()
    assert constant.attrs["separation"] == 0.5
    zero = spectrum_frame(sample_pairs(np.zeros((9, 4)), np.eye(4)[np.arange(9) % 4]))
    assert set(zero["side"]) == {"text"}
    assert zero["rank"].iloc[0] == pytest.approx(3.98, abs=0.02)
    single = sample_pairs(np.ones((1, 4)), np.ones((1, 4)))
    assert len(density_frame(single)) == 1
    assert occurrence_frame(single).empty


def test_no_torch_is_loaded():
    code = (
        "import sys, numpy as np\n"
        "from edgeglass_diag.evaluation.pairs import sample_pairs\n"
        "from edgeglass_diag.evaluation.projection import project\n"
        "import edgeglass_diag.evaluation.pictures, edgeglass_diag.figures.writing\n"
        "drawn = np.random.default_rng(0).standard_normal((2, 12, 4))\n"
        "project(sample_pairs(*drawn), 'tsne')\n"
        "print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
