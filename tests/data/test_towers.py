import logging
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from edgeglass_models.data.scenes import ScenePairs
from edgeglass_models.tiny_clip import WEIGHTS
from edgeglass_models.towers import load_tower

SMALL_ARCHITECTURE = "ViT-S-32-alt"


@pytest.fixture(scope="module")
def tower():
    return load_tower("tiny_clip")


@pytest.fixture(scope="module")
def batch(tower):
    pairs = [ScenePairs("test", 8)[i] for i in range(8)]
    return torch.stack([tower.transform(image) for image, _ in pairs]), tower.tokenizer([text for _, text in pairs])


def test_shapes(tower, batch):
    images, token_ids = batch
    assert tower.image_tokens(images).shape == (8, 65, tower.image_width)
    assert tower.text_features(token_ids).shape == (8, tower.text_width)


def test_tokens_pooled_and_projected_are_open_clips_own_image_embedding(tower, batch):
    visual = tower.model.visual
    tokens = visual.ln_post(tower.image_tokens(batch[0]))
    pooled = {"tok": tokens[:, 0], "avg": tokens[:, 1:].mean(1)}[visual.pool_type]
    torch.testing.assert_close(pooled @ visual.proj, tower.model.encode_image(batch[0]))


def test_shipped_weights_match_pictures_with_their_captions(tower, batch):
    images = F.normalize(tower.model.encode_image(batch[0]), dim=-1)
    texts = F.normalize(tower.text_features(batch[1]), dim=-1)
    assert (images @ texts.T).argmax(1).tolist() == list(range(8))


def test_frozen_but_open_to_gradients_of_the_input(tower, batch):
    tower.train()
    assert not any(module.training for module in tower.modules())
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    images = batch[0].clone().requires_grad_()
    tower.image_tokens(images).sum().backward()
    assert images.grad.abs().sum() > 0


def test_weights_are_float32(tower):
    assert {parameter.dtype for parameter in tower.parameters()} == {torch.float32}


def test_fingerprint_is_the_same_in_every_process(tower):
    code = "from edgeglass_models.towers import load_tower; print(load_tower('tiny_clip').fingerprint)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "5"}
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert output.stdout.strip() == tower.fingerprint


def test_a_folder_is_the_same_tower_under_both_names(tower, tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(WEIGHTS, folder)
    assert load_tower(str(folder)).fingerprint == tower.fingerprint
    assert load_tower(f"local:{folder}").fingerprint == tower.fingerprint


def test_fingerprint_follows_the_preprocessing(tower, tmp_path):
    shutil.copytree(WEIGHTS, tmp_path / "own")
    config = tmp_path / "own" / "open_clip_config.json"
    config.write_text(config.read_text().replace("bicubic", "bilinear"))
    assert load_tower(str(tmp_path / "own")).fingerprint != tower.fingerprint


def test_random_weights_follow_the_seed_and_leave_the_global_stream_alone(caplog):
    state = torch.get_rng_state()
    with caplog.at_level(logging.WARNING):
        towers = [load_tower(SMALL_ARCHITECTURE, seed=seed) for seed in (0, 0, 1)]
    assert "initialized randomly" in caplog.text
    assert towers[0].fingerprint == towers[1].fingerprint != towers[2].fingerprint
    assert torch.equal(torch.get_rng_state(), state)
    assert towers[0].image_tokens(torch.zeros(1, 3, 224, 224)).shape == (1, 50, towers[0].image_width)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("vit-b-33",),
            "model: expected an open_clip architecture, hf-hub:ID, a folder, or tiny_clip; got 'vit-b-33' (close: ViT",
        ),
        (("tinyclip",), "got 'tinyclip' (close: tiny_clip)"),
        (("ViT-B-32", "opnai"), "a tag of ViT-B-32 or a file of weights; got 'opnai' (close: openai"),
        (("ViT-B-32", "none.pt"), "got 'none.pt' (known tags: openai, "),
        (("tiny_clip", "openai"), "pretrained: expected none, as 'tiny_clip' brings its own weights; got 'openai'"),
        (("local:/nowhere",), "model: expected a folder with open_clip_config.json; got /nowhere"),
        (("RN50",), "model: expected a vision transformer, which gives tokens; got 'RN50'"),
    ],
)
def test_wrong_names_raise_one_line(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load_tower(*arguments)
    assert "\n" not in str(caught.value)


def test_damaged_weights_raise_one_line(tmp_path):
    shutil.copytree(WEIGHTS, tmp_path / "own")
    weights = tmp_path / "own" / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"own: expected a model that loads; got Error while deserializing") as caught:
        load_tower(str(tmp_path / "own"))
    assert "\n" not in str(caught.value)
