"""The published recipes: heads at full width train on drawn features; the frozen tower loads from a local file."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from edgeglass_models import towers
from edgeglass_models.checkpoint import latest_checkpoint, read_checkpoint
from edgeglass_models.data.features import Features
from edgeglass_models.data.splits import FeatureSet, FeatureSplits, load_splits
from edgeglass_models.recipes.loading import load_recipes
from edgeglass_models.towers import load_tower
from edgeglass_models.train import train

SMALL = "ViT-S-32-alt"
PUBLISHED = ("baseline-vit-l-14", "perceiver-vit-l-14")
CLIP_L_WIDTHS = {"tokens": (257, 1024), "text": 768}  # open_clip's ViT-L-14: 16 x 16 patches and a class token


def drawn(count, seed):
    """Features of the shape that ViT-L-14 gives, two captions for each picture."""
    random = np.random.default_rng(seed)
    tokens = random.standard_normal((count, *CLIP_L_WIDTHS["tokens"]), dtype=np.float32).astype(np.float16)
    text = random.standard_normal((2 * count, CLIP_L_WIDTHS["text"]), dtype=np.float32)
    return FeatureSet(Features(tokens, text, f"drawn-{seed}", np.arange(2 * count) // 2))


@pytest.mark.slow
@pytest.mark.parametrize("name", [PUBLISHED[0], pytest.param(PUBLISHED[1], marks=pytest.mark.long)])
def test_two_steps_at_published_width(name, tmp_path):
    """Everything as published but the batch: 8 pictures."""
    (recipe,) = load_recipes(name, ["train.batch_size=8", "train.max_steps=2", "train.precision=32-true"])
    splits = FeatureSplits(drawn(16, 0), drawn(8, 1), drawn(12, 2))
    result = train(recipe, splits, tmp_path)
    tensors, step, _ = read_checkpoint(latest_checkpoint(tmp_path))
    width, latent_width = 4096, 1024
    assert step == 2
    assert tensors["model.text_head.weight"].shape == (width, CLIP_L_WIDTHS["text"])
    if recipe.model.pooling == "perceiver":
        assert tensors["model.image_head.resampler.latents"].shape[-2:] == (64, latent_width)
        assert tensors["model.image_head.out.weight"].shape == (width, latent_width)
    else:
        assert tensors["model.image_head.project.weight"].shape == (width, 1024)
    assert (result.n, result.n_texts) == (12, 24)
    assert np.isfinite([result.train_loss, result.val_loss]).all()
    assert all(torch.isfinite(value).all() for name, value in tensors.items() if name.startswith("model."))


@pytest.fixture(scope="module")
def random_weights():
    """A small architecture's random weights, with another seed than load_tower's own."""
    torch.manual_seed(5)
    return towers.open_clip.create_model(SMALL, pretrained=None).state_dict()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_local_file_of_weights_is_read_back(random_weights, tmp_path, suffix):
    file = tmp_path / f"weights{suffix}"
    save_file(random_weights, file) if suffix == ".safetensors" else torch.save(random_weights, file)
    tower = load_tower(SMALL, str(file))
    for name, value in tower.model.state_dict().items():
        assert torch.equal(value, random_weights[name]), name
    assert tower.fingerprint != load_tower(SMALL).fingerprint


def test_a_training_checkpoint_of_open_clip_is_read(random_weights, tmp_path):
    state = {f"module.{name}": value for name, value in random_weights.items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": state, "optimizer": {"lr": 1.0}}, tmp_path / "epoch_3.pt")
    save_file(random_weights, tmp_path / "same.safetensors")
    assert (
        load_tower(SMALL, str(tmp_path / "epoch_3.pt")).fingerprint
        == load_tower(SMALL, str(tmp_path / "same.safetensors")).fingerprint
    )


class Bomb:
    """Unpickling it is an error that the test would see."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


def test_weights_are_never_unpickled(random_weights, tmp_path):
    torch.save({**random_weights, "bomb": Bomb()}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match=r"evil\.pt.*expected a model that loads; got .*[Ww]eights") as caught:
        load_tower(SMALL, str(tmp_path / "evil.pt"))
    assert "\n" not in str(caught.value)


def test_weights_of_another_architecture_are_refused(random_weights, tmp_path):
    save_file({**random_weights, "visual.proj": torch.ones(3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other\.safetensors.*expected a model that loads; got .*visual\.proj"):
        load_tower(SMALL, str(tmp_path / "other.safetensors"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_recipe_runs_on_a_local_tower(random_weights, name, tmp_path, feature_cache):
    """From pictures to two steps, with a small tower from a file and narrow heads."""
    save_file(random_weights, tmp_path / "tower.safetensors")
    narrow = ["model.width=64", "model.mrl_dims=[64, 32]", "model.latent_width=32", "model.latents=4", "model.layers=1"]
    (recipe,) = load_recipes(
        name,
        [
            f"tower.model={SMALL}", f"tower.pretrained={tmp_path / 'tower.safetensors'}", *narrow,
            "data.train=8", "data.val=4", "data.test=4", "train.batch_size=4", "train.max_steps=2",
        ],
    )  # fmt: skip
    result = train(recipe, load_splits(recipe.data, recipe.tower), tmp_path / "run")
    assert result.n == 4
    assert np.isfinite(result.train_loss)
