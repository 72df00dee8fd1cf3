"""The callbacks record what ``run`` records, change nothing of the training, and end it by the framework's means."""

import json
from pathlib import Path

import pytest

import edgeglass_diag as eg
from tests.helpers import framework_calls
from tests.helpers.command_server import IMPORTS, CommandServer

pytestmark = pytest.mark.slow

FRAMEWORKS = ("lightning", "transformers", "sentence_transformers", "accelerate", "ignite")
FAILING = ("transformers", "accelerate", "ignite")
PROGRAM = Path(framework_calls.__file__).with_name("framework_trainings.py")
LAST_STEP = 23
ILL = {"sentence_transformers": "EG403"}
"""What each training is ill of, where that is not its constant image side."""

VALIDATION = {"transformers": "eval_loss", "sentence_transformers": None}

MODULES = {
    "lightning": "clip.image",
    "transformers": "image",
    "sentence_transformers": "0.model.embeddings.word_embeddings",
    "accelerate": "image",
    "ignite": "image",
}


def some(*names):
    """Return all frameworks, those besides ``names`` for ``make test-long``."""
    return [name if name in names else pytest.param(name, marks=pytest.mark.long) for name in FRAMEWORKS]


@pytest.fixture(scope="module")
def copies():
    server = CommandServer([*IMPORTS, "tests.helpers.framework_trainings"])
    yield server
    server.close()


def said(done):
    assert done.returncode == 0, done.stderr
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("SAID "))[5:])


def findings(run):
    """Return code, step and site of each finding. Under ``run`` a loss that is a module stands above the model."""
    return sorted((f.code, f.step, f.site.replace(" model.", " ").removeprefix("model.")) for f in run.findings)


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
    for signal in ("loss/total", "gradient/norm", "update/ratio", "activation/rms", "weight/norm"):
        assert sorted(called.frame(signal).value) == sorted(run.frame(signal).value)
    assert called.frame("metric/epoch").value.tolist() == [0, 1, 2, 3]
    metric = VALIDATION.get(name, "val_loss")
    assert metric is None or called.frame(f"metric/{metric}").step.tolist() == [5, 11, 17, LAST_STEP]
    assert MODULES[name] in {site.path for site in called.sites}
    for finding in called.findings:  # those that every framework's logging shows by itself
        assert finding.severity is eg.Severity.INFO or f"{finding.code} {finding.name}" in done.stderr

    if name == "lightning":  # the numbers go where the framework has a place
        assert "edgeglass_diag/findings" in next(tmp_path.glob("logs/**/metrics.csv")).read_text().splitlines()[0]

    assert not (tmp_path / "called-too").exists()
    assert watched.stderr.count("Diagnose makes no second record") == 1


@pytest.mark.parametrize("name", some("lightning", "transformers", "ignite"))
def test_a_finding_ends_the_training(copies, tmp_path, name):
    code = ILL.get(name, "EG301")
    done = copies.call(framework_calls.stopping, name, "run", {"stop_on": [code]}, cwd=tmp_path)
    run = eg.load(tmp_path / "run")
    assert run.last_step < said(done) <= run.last_step + 10  # of every tenth step there is a window
    assert run.status == "stopped"
    assert run.result["error"].startswith(f"StopTraining: stopped on {code}")
    assert f"edgeglass-diag: stopped on {code}" in done.stderr


@pytest.mark.parametrize("name", some("lightning"))
def test_a_finding_raises_where_it_should(copies, tmp_path, name):
    code = ILL.get(name, "EG301")
    done = copies.call(framework_calls.stopping, name, "run", {"stop_on": [code], "should_raise": True}, cwd=tmp_path)
    assert said(done).startswith(f"stopped on {code}")
    assert eg.load(tmp_path / "run").status == "stopped"


@pytest.mark.parametrize("name", ["lightning", *(pytest.param(name, marks=pytest.mark.long) for name in FAILING)])
def test_an_error_ends_the_record(copies, tmp_path, name):
    done = copies.call(framework_calls.failing, name, "run", cwd=tmp_path)
    assert said(done) == "RuntimeError: no loss"
    run = eg.load(tmp_path / "run")
    assert (run.status, run.result["error"]) == ("failed", "RuntimeError: no loss")
