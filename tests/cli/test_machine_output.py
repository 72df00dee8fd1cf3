"""Every verb has --json, the two that serve or write among them; the package runs as a module."""

import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import edgeglass_diag as eg
from edgeglass_diag.commands import app
from tests.helpers.dashboard_runs import write_healthy
from tests.helpers.waiting import PATIENCE

MODULE = [sys.executable, "-m", "edgeglass_diag"]


def test_every_verb_takes_json():
    verbs = get_command(app).commands
    names = "run check diagnose findings explain audit compare eval attribute report export dashboard profile rules"
    assert set(verbs) == {*names.split(), "bench", "mcp"}
    assert all("--json" in [word for option in verb.params for word in option.opts] for verb in verbs.values())


def test_every_verb_has_its_line_in_the_table():
    table = (Path(__file__).parents[2] / "docs" / "machine-output.md").read_text().partition("A finding is")[0]
    named = [
        verb
        for line in table.splitlines()
        if line.startswith("| `")
        for verb in re.findall(r"`(\w+)`", line.split("|")[1])
    ]
    assert sorted(named) == sorted(get_command(app).commands)


@pytest.mark.parametrize("kind", [eg.AuditReport, eg.CheckReport, eg.Diagnosis, eg.EvaluationReport, eg.ExplainReport])
def test_what_a_verb_prints_can_be_had_in_python(kind):
    assert callable(kind.as_dict)


def test_report_prints_what_it_wrote(tmp_path, command):
    write_healthy(tmp_path / "run", steps=20)
    done = command("report", tmp_path / "run", "--json", cwd=tmp_path)
    assert json.loads(done.stdout) == {"out": "report.html", "notebook": None, "runs": [str(tmp_path / "run")]}
    assert (tmp_path / "report.html").is_file()
    notebook = tmp_path / "eval.ipynb"
    done = command("report", tmp_path / "run", "--notebook", notebook, "--json")
    assert json.loads(done.stdout) == {"out": None, "notebook": str(notebook), "runs": [str(tmp_path / "run")]}


def test_dashboard_prints_its_address_and_token_once_it_serves(tmp_path):
    words = ["dashboard", str(tmp_path), "--port", "8640", "--token", "correct-horse", "--json"]
    process = subprocess.Popen([*MODULE, *words], stdout=subprocess.PIPE, text=True)
    try:
        said = json.loads(process.stdout.readline())
        assert set(said) == {"address", "token"}
        assert said["token"] == "correct-horse"
        address, _, query = said["address"].partition("/?")
        assert query == "token=correct-horse"
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=PATIENCE).close()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


def test_a_static_dashboard_prints_what_it_wrote(tmp_path, command):
    write_healthy(tmp_path / "run", steps=20)
    out = tmp_path / "run.html"
    done = command("dashboard", tmp_path / "run", "--static", out, "--json")
    assert json.loads(done.stdout) == {"out": str(out), "runs": [str(tmp_path / "run")]}
    assert out.is_file()


RUNNABLE = "expected a recipe, a YAML file or a program"
CHECKABLE = "expected a recipe, a YAML file, a script, or package.module:build"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "pkg.model:build"], f"run: {RUNNABLE}, got the function pkg.model:build"),
        (["profile", "mine"], f"profile: {RUNNABLE}, got the run mine"),
        (["check", "mine"], f"check: {CHECKABLE}, got the run mine"),
        (["check", "pkg.model:build", "x"], "'pkg.model:build' takes no arguments, got 'x'; --set is for settings"),
        (["run", "--set", "a=1", "mine"], "--set a=1: is for a recipe, and mine is a run"),
    ],
)
def test_a_target_of_another_kind_is_named(tmp_path, words, said):
    write_healthy(tmp_path / "mine", steps=2)
    done = subprocess.run([*MODULE, *words], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"edgeglass-diag: {said}\n")
