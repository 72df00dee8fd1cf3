"""The course of examples/: scripts with cells, which run as scripts and as notebooks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from examples.notebooks import built, course, main
from tests.helpers.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
SCRIPTS = course()
QUICK = ("07", "10")
"""Scripts of few seconds that run in make test; all run in make test-long, as notebooks too."""


def test_the_course_is_numbered_without_a_gap():
    assert [script.name[:2] for script in SCRIPTS] == [f"{number:02}" for number in range(1, 11)]
    said = (ROOT / "docs" / "notebooks.md").read_text()
    assert [script.name for script in SCRIPTS if script.name not in said] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_becomes_a_notebook(script):
    notebook = built(script)
    assert notebook == built(script)
    kinds = [cell.cell_type for cell in notebook.cells]
    assert kinds[0] == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    assert kinds.count("code") >= 3
    assert kinds[-1] == "code"
    assert "assert" in notebook.cells[-1].source  # it can fail
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    compile(code, script.name, "exec")
    assert not re.search(r"__file__|/tmp|https?://|__name__", code)  # a notebook has no file, and nothing is downloaded
    assert all(not cell.get("outputs") for cell in notebook.cells)


def test_the_notebooks_are_written_and_can_be_chosen(tmp_path, capsys):
    assert main([str(tmp_path), "02", "10"]) == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["02_your_own_loop.ipynb", "10_write_a_rule.ipynb"]
    nbformat.validate(nbformat.read(tmp_path / "02_your_own_loop.ipynb", as_version=4))
    assert main([str(tmp_path), "99"]) == 2
    assert "expected numbers of the course, 01 to 10, got 99" in capsys.readouterr().err


def test_a_notebook_that_fails_is_told(tmp_path, monkeypatch, capsys):
    script = tmp_path / "01_wrong.py"
    script.write_text("# %% [markdown]\n# # Wrong\n\n# %%\nassert 1 == 2, 'not so'\n")
    monkeypatch.setattr("examples.notebooks.course", lambda _: [script])
    assert main([str(tmp_path / "out"), "--execute"]) == 1
    assert "01_wrong: failed" in (said := capsys.readouterr().out)
    assert "not so" in said


def run(script):
    done = subprocess.run(
        [sys.executable, str(script)], cwd=ROOT, capture_output=True, text=True, timeout=2 * PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.parametrize(
    "script",
    [pytest.param(s, marks=[] if s.name[:2] in QUICK else pytest.mark.long) for s in SCRIPTS],
    ids=lambda script: script.stem,
)
def test_a_script_runs_and_what_it_claims_holds(script):
    run(script)


@pytest.mark.long
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_notebook_runs_from_top_to_bottom(script, tmp_path, capsys):
    status = main([str(tmp_path), script.name[:2], "--execute"])
    assert status == 0, capsys.readouterr().out
