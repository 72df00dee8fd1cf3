"""A user's own data from ``run`` to ``eval``: COCO captions drawn from our scenes, several captions per image."""

import json
from pathlib import Path

import pytest

from edgeglass_diag.evaluation.evaluate import evaluate
from edgeglass_diag.records import UsageError
from edgeglass_models.data.scenes import ScenePairs

TINY = ["--set", "train.batch_size=16", "--set", "train.max_steps=3", "--set", "train.validate_every=3"]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """120 scenes in COCO's layout, two or three captions each."""
    folder = tmp_path_factory.mktemp("coco")
    (folder / "images").mkdir()
    (folder / "annotations").mkdir()
    pairs, images, notes = ScenePairs("train", 120), [], []
    for k in range(len(pairs)):
        picture, text = pairs[k]
        picture.save(folder / "images" / f"{k:012d}.jpg", quality=95)
        images.append({"id": k + 100, "file_name": f"{k:012d}.jpg", "width": 64, "height": 64})
        texts = [text, f"a picture of {text}", f"{text}, seen from above"][: 2 + k % 2]
        notes += [{"id": len(notes) + i, "image_id": k + 100, "caption": said} for i, said in enumerate(texts)]
    (folder / "annotations" / "captions.json").write_text(json.dumps({"images": images, "annotations": notes}))
    return folder / "annotations" / "captions.json"


@pytest.fixture(scope="module")
def run(scenes, tmp_path_factory, feature_cache, command):
    out = tmp_path_factory.mktemp("runs") / "own"
    done = command("run", "baseline", "--json", "--out", out, "--set", f"data.path={scenes}", *TINY)
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)["runs"][0]


def evaluated(path, **options):
    return evaluate(path, with_curve=False, **options).values


def test_several_captions_reach_training_and_evaluation(command, run):
    out, summary = run
    assert summary["status"] == "finished"
    done = command("eval", out, "--json", "--no-curve")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["split"] == "test"
    assert 2 * result["n_images"] < result["n_texts"] < 3 * result["n_images"]
    assert result["n_images"] == summary["n"]
    for way in ("i2t", "t2i"):
        assert result[way]["R@1"] == pytest.approx(summary[way]["R@1"], abs=1e-6)
    whole = evaluated(out, split="all")
    assert (whole["n_images"], whole["n_texts"]) == (120, 300)


@pytest.mark.long
def test_a_checkpoint_is_evaluated_on_other_data(command, run, tmp_path):
    checkpoint = next((run[0] / "checkpoints").iterdir())
    for k in range(30):
        ScenePairs("val", 30)[k][0].save(tmp_path / f"{k}.png")
    rows = [f"{k}.png,{word} {k}" for k in range(30) for word in ("one", "two", "three")]
    (tmp_path / "other.csv").write_text("\n".join(["file,caption", *rows, "gone.png,x"]))
    options = ["--data", tmp_path / "other.csv", "--set", "data.image_column=file"]
    refused = command("eval", checkpoint, *options)
    assert (refused.returncode, refused.stdout) == (2, "")
    message = "cannot use 1 x missing picture (first: {0} line 92: no file {1}); data.on_error=skip leaves them out\n"
    assert refused.stderr.endswith(message.format(tmp_path / "other.csv", tmp_path / "gone.png"))
    assert refused.stderr.count("\n") == 1
    skipped = command("eval", checkpoint, *options, "--set", "data.on_error=skip", "--json", "--no-curve")
    told = "edgeglass-diag: warning: {0}: left out 1 x missing picture (first: {0} line 92: no file {1})\n"
    assert skipped.stderr == told.format(tmp_path / "other.csv", tmp_path / "gone.png")
    settings = ["data.image_column=file", "data.on_error=skip"]
    with pytest.warns(UserWarning, match="left out 1 x missing picture"):
        result = evaluated(checkpoint, data=tmp_path / "other.csv", settings=settings)
    assert (result["n_images"], result["n_texts"], result["split"]) == (30, 90, "all")
    assert result["data"] == str(tmp_path / "other.csv")
    assert result["chance"]["i2t"]["R@1"] == pytest.approx(1 / 30)


def test_a_changed_picture_is_never_served_from_the_cache(command, run, scenes):
    before = evaluated(run[0], split="all")
    picture = scenes.parent.parent / "images" / f"{7:012d}.jpg"
    kept = picture.read_bytes()
    ScenePairs("test", 1)[0][0].save(picture, quality=95)
    assert evaluated(run[0], split="all")["geometry"] != before["geometry"]
    picture.write_bytes(kept)
    assert evaluated(run[0], split="all") == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": Path("gone.csv")}, "^no such file or folder: gone.csv$"),
        ({"settings": ["optim.lr=1"]}, "^--set optim.lr=1: only settings of data can be changed for a trained model$"),
        ({"settings": ["data.image_colum=x"]}, "unknown key 'data.image_colum'; did you mean 'image_column'"),
        ({"split": "dev"}, "^split: expected one of train, val, test, all, got 'dev'$"),
    ],
)
def test_wrong_use_is_told_in_one_line(run, options, message):
    with pytest.raises(UsageError, match=message):
        evaluated(run[0], **options)
