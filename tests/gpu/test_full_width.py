"""The command of the full-width answer, tried at a tiny width."""

import itertools

import pytest
import torch

from edgeglass_models.recipes.loading import load_recipes
from tests.gpu.full_width import CELLS, FAILING, HEALTHY, SHAPE, TINY, TINY_SHAPE, answer, builder, drawn, table

CPU = torch.device("cpu")


def test_the_cells_are_all_of_rate_std_and_norm():
    assert len(CELLS) == 8
    assert CELLS[0] == FAILING
    assert CELLS[-1] == HEALTHY


def test_drawn_features_have_the_towers_shape_and_tell_which_caption_is_whose():
    (recipe,) = load_recipes("perceiver-vit-l-14", TINY)
    image, text = next(drawn(recipe, TINY_SHAPE, CPU))
    assert (image.shape, text.shape) == ((16, 17, 32), (16, 24))
    again, _ = next(drawn(recipe, TINY_SHAPE, CPU))
    assert torch.equal(image, again)
    (published,) = load_recipes("perceiver-vit-l-14", ["train.batch_size=2"])
    image, text = next(drawn(published, SHAPE, CPU))
    assert (image.shape, text.shape) == ((2, 257, 1024), (2, 768))


@pytest.mark.parametrize("settings", [FAILING, HEALTHY], ids=["failing", "healthy"])
def test_a_replay_takes_a_step(settings):
    torch.manual_seed(3)
    model, optimizer, step = builder(TINY, TINY_SHAPE, CPU)(settings)
    before = model.image_head.resampler.latents.detach().clone()
    assert before.std() == pytest.approx(0.02 if settings is FAILING else 1.0, rel=0.2)
    assert optimizer.param_groups[0]["lr"] == settings["optim.lr"]
    step()
    assert not torch.equal(model.image_head.resampler.latents, before)


@pytest.mark.long
def test_every_cell_is_told(tmp_path):
    found = answer(steps=3, seeds=1, out=tmp_path / "out", on=CPU, tiny=True, budget=None)
    lines = table(found.outcomes)
    assert len(lines) == 2 + 8
    expected = {tuple(cell) for cell in itertools.product(("0.0002", "0.002"), ("0.02", "1"), ("none", "shared"))}
    assert {tuple(cell.strip() for cell in line.split("|")[1:4]) for line in lines[2:]} == expected
    assert found.report.steps == 3
