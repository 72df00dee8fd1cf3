"""Neighbours, worst pairs and hubs against what they are by definition, and the plane of all steps."""

import numpy as np
import pytest
import torch

from edgeglass_diag.evaluation.neighbours import common_plane, neighbours
from edgeglass_diag.evaluation.pairs import sample_pairs
from edgeglass_diag.figures.embedding_marks import gap_trace, pair_trace
from edgeglass_diag.figures.embedding_steps import steps_figure
from edgeglass_diag.figures.style import TEMPLATES
from edgeglass_diag.measures.geometry import modality_gap


def both(count=40, width=12, seed=0):
    drawn = np.random.default_rng(seed)
    image = drawn.standard_normal((count, width))
    return image, image + drawn.standard_normal((count, width))


def test_ranks_hubs_and_neighbours_are_those_of_the_definition():
    image, text = both()
    image[7] = np.nan  # no pair of the sample
    sample = sample_pairs(image, text)
    found = neighbours(sample)
    cosines = sample.image @ sample.text.T
    n = len(sample)
    assert (n, found.k) == (39, 9)
    assert 7 not in found.pairs
    ranks = [sum(cosines[i, j] > cosines[i, i] for j in range(n)) for i in range(n)]
    assert found.rank["image"].tolist() == ranks
    firsts = np.argsort(-cosines, axis=1)[:, :9]
    assert np.allclose(found.hubness["text"], [(firsts == j).sum() for j in range(n)])
    assert sum(found.hubness["image"]) == pytest.approx(9 * n)
    pair = int(found.pairs[10])
    nearest = found.nearest(pair, "text", 3)
    assert [other for other, _ in nearest] == found.pairs[np.argsort(-cosines[:, 10])[:3]].tolist()
    assert nearest[0][1] == pytest.approx(cosines[:, 10].max())
    behind = [max(np.delete(cosines[i], i).max(), np.delete(cosines[:, i], i).max()) - cosines[i, i] for i in range(n)]
    assert found.worst(4) == found.pairs[np.argsort(-np.array(behind))[:4]].tolist()
    assert found.gap == pytest.approx(float(modality_gap(*map(torch.from_numpy, (sample.image, sample.text)))))


def test_the_partner_stands_where_its_rank_says_also_among_equals():
    image, text = both(20)
    text[1:4] = text[0]  # four captions are the same
    found = neighbours(sample_pairs(image, text))
    nearest = [pair for pair, _ in found.nearest(0, "image", 20)]
    assert found.rank["image"][0] >= 3
    assert nearest.index(0) == found.rank["image"][0]


def test_a_hub_is_found_and_one_pair_has_no_neighbours():
    image, text = both(60)
    text[:, 0] += 6
    image[5] = np.eye(12)[0]  # near to all texts
    found = neighbours(sample_pairs(image, text))
    assert found.hubs("image")[0][0] == 5
    assert neighbours(sample_pairs(*both(1))) is None


def test_all_steps_lie_on_the_same_plane():
    samples = {step: sample_pairs(*both(width=2, seed=step)) for step in (0, 10)}
    plane = common_plane(samples)
    assert sum(plane.attrs["shares"]) == pytest.approx(1)
    rows = np.concatenate([side for sample in samples.values() for side in (sample.image, sample.text)])
    flat = plane[["x", "y"]].to_numpy()
    for a, b in ((0, 1), (3, 90), (50, 140)):  # in two dims nothing is lost, within a step and between steps
        assert np.linalg.norm(flat[a] - flat[b]) == pytest.approx(np.linalg.norm(rows[a] - rows[b]), rel=1e-4)
    wide = common_plane({0: sample_pairs(*both(width=12)), 5: sample_pairs(*both(width=6))})
    assert set(wide["step"]) == {5}  # a plane of one width alone
    assert common_plane({}).empty
    assert common_plane({0: sample_pairs(np.ones((4, 1)), -np.ones((4, 1)))}).attrs["shares"] == pytest.approx([1, 0])


def test_the_axes_are_those_of_the_largest_variance():
    sample = sample_pairs(*both(width=30))
    rows = np.concatenate([sample.image, sample.text])
    sizes = np.linalg.svd(rows - rows.mean(0), compute_uv=False) ** 2
    plane = common_plane({3: sample})
    assert plane.attrs["shares"] == pytest.approx((sizes / sizes.sum())[:2].tolist(), rel=1e-3)
    assert plane["x"].var() > plane["y"].var()


def test_collapsed_embeddings_stay_one_point():
    plane = common_plane({0: sample_pairs(np.ones((4, 3)), np.ones((4, 3)))})
    low, high = steps_figure(plane, TEMPLATES["light"]).layout.xaxis.range
    assert high - low > 0.1 > 1e5 * np.ptp(plane["x"])


def test_each_step_is_a_frame_within_the_same_bounds_and_the_gap_joins_the_means():
    plane = common_plane({step: sample_pairs(*both(seed=step)) for step in (0, 10, 50)})
    figure = steps_figure(plane, TEMPLATES["dark"])
    assert [frame.name for frame in figure.frames] == ["0", "10", "50"]
    assert np.array_equal(figure.data[0].x, figure.frames[-1].data[0].x)
    low, high = figure.layout.xaxis.range
    assert low < plane["x"].min() < plane["x"].max() < high
    last = plane[plane["step"] == 50]
    gap = gap_trace(last, TEMPLATES["dark"])
    image = last[last["side"] == "image"]
    assert (gap.x[0], gap.y[0]) == pytest.approx((image["x"].mean(), image["y"].mean()))
    assert len(pair_trace(last, 3, TEMPLATES["dark"]).x) == 2
    assert len(pair_trace(last, 999, TEMPLATES["dark"]).x) == 0
    told = steps_figure(plane, TEMPLATES["dark"], labels={10: ["<i>a"]}, meta=lambda step: {"pairs": {"step": step}})
    first, second = (frame.data[0] for frame in told.frames[:2])
    assert (first.text[0], second.text[0], second.text[1]) == ("pair 0", "&lt;i&gt;a", "pair 1")
    assert second.meta == {"pairs": {"step": 10}}
    alone = steps_figure(plane[plane["step"] == 0], TEMPLATES["light"])
    assert not alone.layout.sliders
    assert "no pairs" in steps_figure(plane[:0], TEMPLATES["light"]).layout.annotations[0].text
