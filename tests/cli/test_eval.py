"""``eval`` as its user meets it: files of embeddings, options, tables, and bad input."""

import json
import os

import numpy as np
import pytest


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """300 pairs, 64 wide, half of the captions near their image."""
    path = tmp_path_factory.mktemp("embeddings") / "pairs.npy"
    drawn = np.random.default_rng(0)
    image = drawn.standard_normal((300, 64), dtype=np.float32)
    noise = drawn.standard_normal((300, 64), dtype=np.float32)
    np.save(path, np.stack([image, image + np.where(np.arange(300) % 2, 0.1, 9).astype(np.float32)[:, None] * noise]))
    return path


def refusal(done):
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


def test_a_file_of_embeddings_gives_the_agreed_json(command, pairs):
    result = json.loads(command("eval", pairs, "--json").stdout)
    agreed = {"n_images", "n_texts", "chance", "i2t", "t2i", "ci95", "mrl", "geometry"}
    assert agreed | {"nonfinite", "duplicates", "curve", "findings"} == set(result)
    assert result["n_images"] == result["n_texts"] == 300
    assert 0.5 <= result["i2t"]["R@1"] < 0.7
    assert list(result["mrl"]) == ["64", "32"]
    assert set(result["geometry"]["effective_rank"]) == {"image", "text"}


def test_widths_and_the_curve_are_options(command, pairs):
    result = json.loads(command("eval", pairs, "--json", "--dims", "16,8", "--no-curve", "--device", "cpu").stdout)
    assert list(result["mrl"]) == ["64", "16", "8"]
    assert "curve" not in result


def test_tables_fit_a_terminal(command, pairs):
    done = command("eval", pairs, env={**os.environ, "COLUMNS": "80"})
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines()[:40])) <= 80
    for words in (
        "300 images, 300 captions",
        "95 % interval",
        "i2t R@1",
        "untrained",
        "binary",
        "knee:",
        "modality gap",
    ):
        assert words in done.stdout
    assert "…" not in done.stdout


def test_what_is_not_finite_is_said(command, tmp_path):
    both = np.random.default_rng(0).standard_normal((2, 20, 8))
    both[0, 3, 2] = np.nan
    np.save(tmp_path / "bad.npy", both)
    assert "NOT FINITE: 1 of 20 images, 0 of 20 captions" in command("eval", tmp_path / "bad.npy").stdout
    assert json.loads(command("eval", tmp_path / "bad.npy", "--json").stdout)["nonfinite"] == {"image": 1, "text": 0}


def test_bad_input_ends_with_one_line(command, pairs, tmp_path):
    assert "no such run, checkpoint or file of embeddings" in refusal(command("eval", tmp_path / "gone.npy", "--json"))
    np.savez(tmp_path / "some.npz", texts=np.ones((2, 2)))
    assert "some.npz: has no 'image'" in refusal(command("eval", tmp_path / "some.npz", "--json"))
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "pickled.npy: " in refusal(command("eval", tmp_path / "pickled.npy"))
    (tmp_path / "weights.pt").write_bytes(b"none")
    assert "weights.pt" in refusal(command("eval", tmp_path / "weights.pt"))


def test_wrong_options_are_named(command, pairs):
    assert "--split val: is for runs and checkpoints" in refusal(command("eval", pairs, "--split", "val"))
    assert "--dims: expected widths as 512,256,64, got '16,x'" in refusal(command("eval", pairs, "--dims", "16,x"))
    assert "dims must be in [1, 64], got [128, 64]" in refusal(command("eval", pairs, "--dims", "128"))
    assert "--device tpu: " in refusal(command("eval", pairs, "--device", "tpu"))


@pytest.mark.long  # the compiler of umap
def test_pictures_are_written_beside_the_numbers(command, pairs, tmp_path):
    done = command("eval", pairs, "--json", "--figures", tmp_path / "new", "--theme", "dark")
    assert set(json.loads(done.stdout)["geometry"]["hubness"]) == {"captions", "i2t", "t2i"}
    assert "8 figures in" in done.stderr
    names = {"recall", "mrl", "pca", "tsne", "umap", "similarity", "spectrum", "hubness"}
    assert {file.stem for file in (tmp_path / "new").glob("*.html")} == names


def test_pictures_that_cannot_be_written_are_refused_at_once(command, pairs, tmp_path):
    gone = {**os.environ, "BROWSER_PATH": str(tmp_path / "none")}
    done = command("eval", pairs, "--figures", tmp_path / "new", "--format", "png", env=gone)
    assert "--format png needs a browser: install Chromium" in refusal(done)
    assert not (tmp_path / "new").exists()
    assert "--figures DIR, which was not given" in refusal(command("eval", pairs, "--format", "png"))
    assert "--theme: expected light or dark" in refusal(command("eval", pairs, "--figures", "x", "--theme", "red"))
    assert "expected a folder, got a file" in refusal(command("eval", pairs, "--figures", pairs))
