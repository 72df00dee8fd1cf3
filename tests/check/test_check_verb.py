"""The verb as its user meets it: scripts that are stopped before their first step, JSON alone, exit status."""

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.helpers.waiting import PATIENCE

COMMAND = str(Path(sys.executable).parent / "edgeglass-diag")

SCRIPT = """
    import sys
    import torch
    from torch import nn
    import torch.nn.functional as F

    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
    with torch.no_grad():
        nn.init.normal_(model[0].weight, std=1.0)
        nn.init.normal_(model[0].weight, std=0.01)
    optimizer = torch.optim.SGD(model[0].parameters(), 0.1)
    before = model[0].weight.detach().clone()
    try:
        for step in range(5):
            F.cross_entropy(model(torch.randn(8, 6)), torch.arange(8) % 4).backward()
            optimizer.step()
            print("stepped")
    finally:
        print("cleaned up", torch.equal(before, model[0].weight), *sys.argv[1:])
"""


@pytest.fixture
def check(tmp_path, command):
    def run(*words, script=SCRIPT):
        (tmp_path / "train.py").write_text(dedent(script))
        return command("check", *words, cwd=tmp_path)

    return run


def test_a_script_is_stopped_before_its_first_step_and_its_cleaning_up_runs(tmp_path):
    (tmp_path / "train.py").write_text(dedent(SCRIPT))
    line = [COMMAND, "check", "train.py", "--json", "--fail-on", "warning", "--", "--lr", "3"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE)
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert "cleaned up True --lr 3" in done.stderr
    assert "stepped" not in done.stderr
    assert report["notes"] == ["stopped before its first optimizer step: nothing was trained"]
    found = {f["code"]: f["severity"] for f in report["findings"]}
    assert found == {"EG001": "info", "EG003": "warning"}
    weight = next(p for p in report["parameters"] if p["name"] == "0.weight")
    assert [(w["op"], Path(w["file"]).name, w["line"]) for w in weight["writes"] if not w["default"]] == [
        ("normal_", "train.py", 9),
        ("normal_", "train.py", 10),
    ]


def test_its_tables_tell_both_places(check):
    done = check("train.py")
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "cleaned up True" in text
    for said in (
        "train.py:9",
        "train.py:10",
        "overwritten",
        "no optimizer holds 2.weight, 2.bias",
        "Stopped before its first",
    ):
        assert said in text, said


def test_a_script_that_fails_before_its_first_step_shows_its_own_error(check):
    done = check("train.py", script="import torch\nraise RuntimeError('no data')\n")
    assert done.returncode == 2
    assert "RuntimeError: no data" in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "edgeglass-diag: train: ended with exit status 1 before its first optimizer step"
    )
    assert "edgeglass_diag/" not in done.stderr


def test_a_script_that_trains_nothing_is_told(check):
    done = check("train.py", script="print('hello')\n")
    assert done.returncode == 2
    assert "expected a program that trains with torch; it ended without a step" in done.stderr


def test_without_a_target_and_with_settings_for_a_script_it_says_what_it_expects(check):
    assert "check: expected a target" in check().stderr
    done = check("train.py", "--set", "optim.lr=1")
    assert done.returncode == 2
    assert "is for recipes and functions" in done.stderr


def test_a_recipe_of_published_scale_as_json_alone(check):
    done = check("baseline-vit-l-14", "--json", "--fail-on", "warning")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["findings"] == []
    assert {"parameters", "attention", "findings"} <= set(report)
    assert next(p["shape"] for p in report["parameters"] if p["name"] == "image_head.project.weight") == [4096, 1024]
