"""Equal entries of a gallery are counted, and the recall that they allow is the one that is reached."""

import pytest
import torch

from edgeglass_diag.commands.render.evaluation import evaluation_tables
from edgeglass_diag.evaluation.duplicates import duplicates
from edgeglass_diag.evaluation.embeddings import make_embeddings
from edgeglass_diag.evaluation.report import report


def captions_of(pictures, count, noise=0.05):
    """Pictures with ``count`` captions each, near them: (pictures, D), (pictures x count, D)."""
    drawn = torch.Generator().manual_seed(0)
    image = torch.randn(pictures, 32, generator=drawn)
    text = image.repeat_interleave(count, 0)
    return image, text + noise * torch.randn(text.shape, generator=drawn)


def lines(result):
    return [line for line in evaluation_tables(result) if isinstance(line, str) and "DUPLICATES" in line]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_five_captions_as_five_pairs_are_said(dtype):
    image, text = captions_of(60, 5)
    pairs = make_embeddings(image.repeat_interleave(5, 0).to(dtype), text.to(dtype))
    result = report(pairs, with_curve=False)
    found = result["duplicates"]["image"]
    assert found == {
        "rows": 300, "distinct": 60, "largest": 5, "copies": 5, "consecutive": True, "bound": pytest.approx(0.2),
    }  # fmt: skip
    assert result["duplicates"]["text"] is None
    assert result["t2i"]["R@1"] == pytest.approx(0.2)
    (line,) = lines(result)
    assert "300 images have 60 distinct embeddings, 5 of each: t2i R@1 cannot exceed 0.200" in line
    assert line.endswith("give image_index: row // 5")


def test_with_image_index_nothing_is_said_and_the_recall_is_whole():
    image, text = captions_of(60, 5)
    result = report(make_embeddings(image, text, torch.arange(60).repeat_interleave(5)), with_curve=False)
    assert result["duplicates"] == {"image": None, "text": None}
    assert result["t2i"]["R@1"] == 1.0
    assert lines(result) == []


def test_shared_captions_bound_the_other_direction():
    image, text = captions_of(4, 1)
    text[1] = text[0]
    found = duplicates(make_embeddings(image, text))["text"]
    assert (found["distinct"], found["copies"], found["bound"]) == (3, None, pytest.approx(3 / 4))
    own = duplicates(make_embeddings(image, text[[0, 1, 2, 3]], torch.tensor([0, 0, 1, 2])))["text"]
    assert own["bound"] == 1.0  # equal captions of one image are no fault


def test_copies_that_lie_apart_and_a_constant_side():
    image, text = captions_of(6, 1)
    apart = duplicates(make_embeddings(image[[0, 1, 2, 0, 1, 2]], text))["image"]
    assert (apart["copies"], apart["consecutive"]) == (2, False)
    constant = report(make_embeddings(image[:1].expand(6, -1), text), with_curve=False)
    assert "the side is constant" in lines(constant)[0]


def test_rows_that_are_not_finite_are_no_copies():
    image, text = captions_of(6, 1)
    image[:3] = float("nan")
    assert duplicates(make_embeddings(image, text))["image"] is None
