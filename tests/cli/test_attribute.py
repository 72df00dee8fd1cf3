"""``attribute`` on trained runs of the recipes."""

from __future__ import annotations

import json
from io import StringIO

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from edgeglass_diag.commands.render.attribution import attribution_tables
from edgeglass_diag.evaluation.attribute_run import attribute_run
from edgeglass_diag.records import UsageError
from edgeglass_models.data.scenes import boxes, sample_scene
from edgeglass_models.data.scenes.drawing import draw
from edgeglass_models.recipes.jobs import plan

SMALL = ["data.train=192", "data.val=32", "data.test=64", "train.batch_size=64", "train.max_steps=20", "train.epochs=9"]


def trained(name, folder, *settings):
    (job,) = plan(name, [*SMALL, *settings])
    job.prepare()
    job.train(folder, lambda metrics, step: None)
    return folder


@pytest.fixture(scope="module")
def baseline(tmp_path_factory, feature_cache):
    return trained("baseline", tmp_path_factory.mktemp("runs") / "baseline", "optim.lr=4e-3")


@pytest.fixture(scope="module")
def perceiver(tmp_path_factory, feature_cache):
    settings = ("optim.lr=1e-3", "model.layers=1", "model.latents=4", "loss.sample_single_mrl_dim=false")
    return trained("perceiver", tmp_path_factory.mktemp("runs") / "perceiver", *settings)


def test_patches_and_words_of_the_baseline_and_their_pictures(baseline, tmp_path):
    out = tmp_path / "maps"
    result = attribute_run(baseline, pairs=2, sample=64, steps=16, out=out)
    assert result["information"]["n"] == 64
    assert result["information"]["pairs"]["information"] > 0.8
    assert result["information"]["tokens: mean of all"]["information"] == pytest.approx(0, abs=1e-6)
    for entry in result["pairs"]:
        assert list(entry["views"]) == ["pixels", "tokens", "words"]
        assert [len(view["ablation"]) for view in entry["views"].values()] == [64, 65, len(entry["words"]) + 1]
        for view in entry["views"].values():
            whole = entry["similarity"] - view["reference"]
            assert sum(view["integrated_gradients"]) == pytest.approx(whole, abs=view["error"] + 1e-5)
            assert view["error"] < 0.02 * abs(whole)
        assert " ".join(entry["words"]) == entry["caption"]
        assert entry["views"]["words"]["integrated_gradients"][0] == pytest.approx(0, abs=1e-6)
        with Image.open(entry["heatmap"]) as drawn:
            assert drawn.size == (5 * 256 + 4 * 8, 256)
    assert json.loads((out / "attribution.json").read_text()) == result


def test_the_latents_of_a_resampler_share_the_score(perceiver):
    result = attribute_run(perceiver, pairs=1, sample=64, steps=16)
    (entry,) = result["pairs"]
    assert list(entry["views"]) == ["pixels", "tokens", "latents", "words"]
    latents = entry["views"]["latents"]
    assert len(latents["integrated_gradients"]) == 4
    assert sum(latents["integrated_gradients"]) == pytest.approx(entry["similarity"] - latents["reference"], abs=1e-3)
    assert {f"latents: without {k}" for k in range(4)} < set(result["information"])


@pytest.mark.long  # the shipped recipe
def test_the_score_of_a_collapsed_resampler_carries_no_visual_information(tmp_path, feature_cache):
    ill = trained("perceiver", tmp_path / "ill")  # the shipped recipe, as ill as the report's
    result = attribute_run(ill, pairs=1, sample=64, steps=4)["information"]
    assert not result["informed"]
    assert result["pairs"]["information"] == pytest.approx(0, abs=1e-6)
    assert result["pairs"]["R@1"] == pytest.approx(1 / 64)


@pytest.mark.long
def test_the_command_prints_json(baseline, command):
    told = command("attribute", baseline, "--pairs", 1, "--sample", 16, "--steps", 2, "--json")
    assert told.returncode == 0, told.stderr
    assert set(json.loads(told.stdout)) == {"split", "steps", "information", "largest_error", "pairs"}


def test_the_tables_say_it_in_words(perceiver):
    result = attribute_run(perceiver, pairs=1, sample=32, steps=2)
    console = Console(width=200, record=True, file=StringIO())
    for part in attribution_tables(result):
        console.print(part)
    printed = console.export_text()
    assert "the pictures matter: information" in printed
    assert printed.count("latents: without") == 1
    assert " of 4, which costs most" in printed
    assert "of 8 x 8" in printed
    assert "largest error of an integral" in printed


def test_bad_input_ends_with_one_line(command, baseline, tmp_path):
    def refusal(*words):
        done = command("attribute", *words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        return done.stderr

    assert "no such run or checkpoint" in refusal(tmp_path / "gone", "--json")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="exists and is not empty, and nothing is overwritten"):
        attribute_run(baseline, out=tmp_path)
    with pytest.raises(UsageError, match="split: expected one of train, val, test, got 'all'"):
        attribute_run(baseline, split="all")
    with pytest.raises(UsageError, match="has no checkpoint"):
        attribute_run(tmp_path)


def test_the_boxes_are_where_the_objects_are():
    for index in range(40):
        scene = sample_scene("test", index)
        background = np.median(np.asarray(draw(scene), dtype=float), axis=(0, 1)) if len(scene.objects) < 3 else None
        if background is None:
            continue
        far = np.abs(np.asarray(draw(scene), dtype=float) - background).max(2) > 40
        covered = torch.zeros(64, 64, dtype=torch.bool)
        for left, top, right, bottom in boxes(scene):
            place = (slice(int(top), int(np.ceil(bottom))), slice(int(left), int(np.ceil(right))))
            covered[place] = True
            assert far[place].mean() > 0.2
        assert not (torch.from_numpy(far) & ~covered).any()
