"""Real replays: of a recipe run in worker processes, of a user's function in this process."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeglass_diag.explanation.explain import explain
from edgeglass_diag.explanation.of_recipes import Question
from edgeglass_diag.explanation.of_recipes import explain_run as ask
from edgeglass_diag.explanation.report import ChangeSet
from edgeglass_diag.records import UsageError
from edgeglass_diag.store import load

SMALL = ["data.train=256", "data.val=64", "data.test=64", "train.batch_size=64", "train.max_steps=16", "optim.lr=3e-3"]
QUICK = [word for setting in SMALL for word in ("--set", setting)]


@pytest.fixture(scope="module")
def failing_run(tmp_path_factory, feature_cache, command):
    folder = tmp_path_factory.mktemp("explain") / "flat"
    done = command("run", "baseline", *QUICK, "--set", "model.temperature=50", "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.long
def test_a_run_against_a_recipe(failing_run, tmp_path, command):
    place = tmp_path / "why"
    done = command(
        "explain", failing_run, "--against", "baseline", *QUICK, "--set", "optim.weight_decay=0.02",
        "--seeds", 1, "--steps", 16, "--out", place, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    (cause,) = result["causes"]
    assert (cause["setting"], cause["ill"], cause["healthy"]) == ("model.temperature", 50, 0.07)
    assert (cause["cured"], cause["made_ill"]) == ("1/1", "1/1")
    assert [(row["setting"], row["cured"]) for row in result["not_causes"]] == [("optim.weight_decay", "0/1")]
    assert result["again"][:5] == [str(failing_run), "--against", "baseline", "--set", QUICK[1]]
    assert result["again"][-4:] == ["--seeds", "1", "--steps", "16"]
    assert result["verdict"].startswith("In 16 steps the failing settings end at")
    assert json.loads((place / "explain.json").read_text()) == result
    for trial in result["trials"]:
        with load(trial["out"]) as run:
            assert run.last_step == 15
            assert run.header["settings"]["seed"] == trial["seed"]
    assert "replays of" in done.stderr

    # An interrupted explanation continues: finished replays are read, others run again.
    (place / "explain.json").unlink()
    broken, *whole = [Path(trial["out"]) for trial in result["trials"]]
    (broken / "run.json").unlink()
    before = {file: file.stat().st_mtime_ns for folder in whole for file in [folder / "run.json"]}
    again = ask(Question(failing_run, "baseline", [*SMALL, "optim.weight_decay=0.02"], place, seeds=1, steps=16))
    assert {**again.as_dict(), "seconds": 0} == {**result, "seconds": 0}
    assert {file: file.stat().st_mtime_ns for file in before} == before
    (place / "something").touch()
    with pytest.raises(UsageError, match="exists and is not empty"):
        ask(Question(failing_run, "baseline", SMALL, place, steps=16))


def test_wrong_use_raises_one_line(failing_run, tmp_path):
    def refusal(run, against=None, *overrides):
        with pytest.raises(UsageError) as error:
            ask(Question(run, against, overrides, tmp_path / "none"))
        assert not (tmp_path / "none").exists()
        return str(error.value)

    assert "no such run" in refusal(tmp_path / "nothing")
    assert "unknown recipe 'nonsense'" in refusal(failing_run, "nonsense")
    assert "expected one run or recipe, got 2" in refusal(failing_run, "incident")
    assert "there is nothing to explain" in refusal(failing_run, str(failing_run))
    assert "is for a recipe" in refusal(failing_run, str(failing_run), "optim.lr=1")
    assert "is for the recipe --against, and there is none" in refusal(failing_run, None, "optim.lr=1")


def build(settings):
    if settings["width"] % 4:
        raise ValueError("width must be a multiple of 4")
    model = nn.Linear(8, settings["width"])
    optimizer = torch.optim.SGD(model.parameters(), lr=settings["lr"])

    def step():
        pictures = torch.randn(16, 8)
        image, text = F.normalize(model(pictures), dim=-1), F.normalize(model(pictures + 0.1), dim=-1)
        logits = settings["scale"] * image @ text.T
        loss = F.cross_entropy(logits, torch.arange(16))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return model, optimizer, step


def test_a_function_of_the_user(tmp_path):
    failing, healthy = {"lr": 0.1, "scale": 0.01, "width": 8}, {"lr": 0.2, "scale": 30.0, "width": 12}
    result = explain(build, failing=failing, healthy=healthy, out=tmp_path, steps=12, seeds=2)
    assert [cause.setting for cause in result.causes] == ["scale"]
    assert {row.setting: row.cured for row in result.not_causes} == {"lr": "0/2", "width": "0/2"}
    assert all(load(trial.out).status == "finished" for trial in result.trials)


def test_settings_that_build_refuses_have_no_count(tmp_path):
    failing, healthy = {"lr": 0.1, "scale": 0.01, "width": 8}, {"lr": 0.1, "scale": 30.0, "width": 12}

    def fussy(settings):
        if (settings["scale"], settings["width"]) == (0.01, 12):
            raise ValueError("no")
        return build(settings)

    result = explain(fussy, failing=failing, healthy=healthy, out=tmp_path, steps=12, seeds=1)
    assert result.cures == (ChangeSet(("scale",), "1/1"),)
    rows = {row.setting: row for row in result.causes}
    assert (rows["width"].cured, rows["scale"].broken) == (None, None)
    assert result.breaks == (ChangeSet(("scale", "width"), "1/1"),)


def test_equal_settings_and_a_folder_in_use_are_refused(tmp_path):
    with pytest.raises(UsageError, match="expected settings that differ, got equal ones"):
        explain(build, failing={"lr": 1}, healthy={"lr": 1}, out=tmp_path)
    (tmp_path / "something").touch()
    with pytest.raises(UsageError, match="expected a new or empty folder"):
        explain(build, failing={"lr": 1}, healthy={"lr": 2}, out=tmp_path)


def test_a_run_takes_no_settings_of_a_function_nor_the_other_way_round(tmp_path):
    with pytest.raises(UsageError, match="expected failing= and healthy= settings with a function"):
        explain(build, "baseline", failing={"lr": 1}, healthy={"lr": 2}, out=tmp_path)
    with pytest.raises(UsageError, match="are for a function"):
        explain(tmp_path, failing={"lr": 1}, healthy={"lr": 2})
