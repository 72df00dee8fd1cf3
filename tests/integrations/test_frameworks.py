"""The callbacks record what ``run`` records, change nothing of the training, and end it by the framework's own means."""

import json
from pathlib import Path

import pytest

import edgeglass_diag as eg
from tests.helpers import framework_calls
from tests.helpers.command_server import IMPORTS, CommandServer

pytestmark = pytest.mark.slow

FRAMEWORKS = ("lightning", "transformers", "sentence_transformers", "accelerate", "ignite")
PROGRAM = Path(framework_calls.__file__).with_name("framework_trainings.py")
LAST_STEP = 23
ILL = {"sentence_transformers": "EG404"}
"""What each training is ill of, where that is not its constant image side."""

MODULES = {
    "lightning": "clip.image",
    "transformers": "image",
    "sentence_transformers": "0.auto_model.embeddings.word_embeddings",
    "accelerate": "image",
    "ignite": "image",
}


@pytest.fixture(scope="module")
def copies():
    server = CommandServer([*IMPORTS, "tests.helpers.framework_trainings"])
    yield server
    server.close()


def said(done):
    assert done.returncode == 0, done.stderr
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("SAID "))[5:])


def findings(run):
    """Return code, step and site of each finding; a loss that is a module stands above the model under ``run``."""
    return sorted((f.code, f.step, f.site.removeprefix("model.")) for f in run.findings)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_losses_and_findings_are_those_of_run(copies, tmp_path, name):
    done = copies.call(framework_calls.with_and_without, name, "called", cwd=tmp_path)
    watched = copies.run("run", "--out", "run", str(PROGRAM), "--", name, "called-too", cwd=tmp_path)
    with_callback, without = said(done)
    assert with_callback == without == said(watched)
    assert len(without) == LAST_STEP + 1

    run, called = eg.load(tmp_path / "run"), eg.load(tmp_path / "called")
    assert findings(called) == findings(run)
    assert ILL.get(name, "EG301") in {finding.code for finding in called.findings}
    assert (called.status, called.last_step) == ("finished", LAST_STEP)
    assert set(run.signals) <= set(called.signals)
    assert called.frame("metric/epoch").value.tolist() == [0, 1, 2, 3]
    assert MODULES[name] in {site.path for site in called.sites}
    for finding in called.findings:
        assert f"{finding.code} {finding.name}" in done.stderr

    assert not (tmp_path / "called-too").exists()
    assert watched.stderr.count("Diagnose makes no second record") == 1


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_finding_ends_the_training(copies, tmp_path, name):
    code = ILL.get(name, "EG301")
    done = copies.call(framework_calls.stopping, name, "run", {"stop_on": [code]}, cwd=tmp_path)
    assert said(done) == eg.load(tmp_path / "run").last_step + 1
    run = eg.load(tmp_path / "run")
    assert run.status == "stopped"
    assert run.result["error"].startswith(f"StopTraining: stopped on {code}")
    assert f"edgeglass-diag: stopped on {code}" in done.stderr


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_finding_raises_where_it_should(copies, tmp_path, name):
    code = ILL.get(name, "EG301")
    done = copies.call(framework_calls.stopping, name, "run", {"stop_on": [code], "should_raise": True}, cwd=tmp_path)
    assert said(done).startswith(f"stopped on {code}")
    assert eg.load(tmp_path / "run").status == "stopped"


def test_numbers_go_where_the_framework_has_a_place(copies, tmp_path):
    said(copies.call(framework_calls.with_and_without, "lightning", "called", cwd=tmp_path))
    logged = next(tmp_path.glob("logs/**/metrics.csv")).read_text()
    assert "edgeglass_diag/findings" in logged.splitlines()[0]


def test_validations_are_recorded(copies, tmp_path):
    for name, metric in (("lightning", "val_loss"), ("transformers", "eval_loss"), ("ignite", "val_loss")):
        said(copies.call(framework_calls.with_and_without, name, name, cwd=tmp_path))
        values = eg.load(tmp_path / name).frame(f"metric/{metric}")
        assert values.step.tolist() == [5, 11, 17, 23]
