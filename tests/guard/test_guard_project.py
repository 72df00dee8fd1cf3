"""A user's project with this package installed: its guarded test passes, fails, and passes again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from xml.etree import ElementTree

import pytest
import torch._dynamo  # noqa: F401 - imported before pytester snapshots sys.modules: torch cannot be imported twice

import edgeglass_diag.guard.init_guard  # noqa: F401 - for the same reason
from tests.helpers.waiting import PATIENCE

pytest_plugins = ["pytester"]

MODEL = """\
import torch
from torch import nn


class Reader(nn.Module):
    def __init__(self, width=64, queries=8):
        super().__init__()
        self.norm = nn.Identity()
        self.queries = nn.Parameter(torch.randn(queries, width))
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.head = nn.Linear(width, 16)

    def forward(self, tokens):
        queries = self.norm(self.queries).expand(len(tokens), -1, -1)
        read, _ = self.attention(queries, tokens, tokens, need_weights=False)
        return self.head(read.relu()).mean(1)
"""
TEST = """\
import torch

from reader import Reader


def test_the_reader_starts_well(init_guard):
    tokens = torch.randn(8, 30, 64, generator=torch.Generator().manual_seed(1))
    inspection = init_guard(Reader, tokens)
    assert inspection.attention[0].queries == 8
"""
OTHER = """\
import sys


def test_nothing_heavy_is_loaded():
    assert "edgeglass_diag.guard.plugin" in sys.modules
    assert not {"torch", "hypothesis", "edgeglass_diag.rules", "edgeglass_models"} & set(sys.modules)
"""
LINE = "        nn.init.normal_(self.queries, std=0.02)\n"


def three_files(folder):
    (folder / "reader.py").write_text(MODEL)
    (folder / "test_reader.py").write_text(TEST)
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\npythonpath = .\naddopts = --strict-markers\n")


@pytest.fixture
def here(pytester):
    """The same three files, and a function that runs pytest there inside of this process."""
    three_files(pytester.path)

    def run(*options):
        plugins = ["-p", "no:dash", "-p", "edgeglass_diag.guard.plugin", "-p", "no:cacheprovider"]
        return pytester.runpytest_inprocess(*plugins, *options)

    return pytester.path, run


@pytest.fixture
def project(tmp_path, installed):
    """Three files, and a function that runs pytest there as a user would."""
    three_files(tmp_path)

    def run(*options):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHONPATH"))}
        environment |= {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        line = [sys.executable, "-m", "pytest", "-q", "-p", "no:dash", "-p", "no:cacheprovider", *map(str, options)]
        options = {"cwd": tmp_path, "env": environment, "timeout": PATIENCE}
        return subprocess.run(line, capture_output=True, text=True, **options)

    return tmp_path, run


@pytest.mark.long
def test_the_reported_line_fails_without_a_norm_and_passes_with_one(project):
    folder, run = project
    healthy = run()
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr

    reported = MODEL.replace("        self.attention =", LINE + "        self.attention =")
    (folder / "reader.py").write_text(reported)
    number = reported.splitlines().index(LINE.rstrip("\n")) + 1
    failing = run("--eg-sarif", "out/init.sarif", "--junitxml", "junit.xml")
    assert failing.returncode == 1
    assert "WARNING EG050 queries-without-effect" in failing.stdout
    assert f"init:     {folder / 'reader.py'}:{number}" in failing.stdout
    for word in (
        "site:     attention.attention",
        "measured: query_rms 0.02",
        "allowed:  rms 0.5",
        "fix:      Put a Layer",
    ):
        assert word in failing.stdout
    assert "init_guard.py" not in failing.stdout  # no traceback through our package
    results = json.loads((folder / "out/init.sarif").read_text())["runs"][0]["results"]
    places = {
        r["ruleId"]: (
            r["level"],
            r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
            r["locations"][0]["physicalLocation"]["region"]["startLine"],
        )
        for r in results
    }
    assert places == {"EG001": ("note", "reader.py", number), "EG050": ("warning", "reader.py", number)}
    names = [p.get("name") for p in ElementTree.parse(folder / "junit.xml").iter("property")]
    assert "init_guard/attention.attention/logit_std" in names
    assert names.count("init_guard/finding") == 2

    (folder / "pyproject.toml").write_text("[tool.edgeglass-diag.EG050]\nrms = 0.25\n")
    assert "allowed:  rms 0.25" in run().stdout

    (folder / "reader.py").write_text(reported.replace("nn.Identity()", "nn.LayerNorm(width)"))
    cured = run()
    assert cured.returncode == 0, cured.stdout


def test_a_certificate_tells_what_changed(here):
    folder, run = here
    assert "expected --eg-baseline FILE too, got none" in run("--eg-update").stderr.str()
    missing = run("--eg-baseline", "init.json")
    assert missing.ret == 1
    assert "no such file of init certificates: " in missing.stdout.str()
    assert "init.json; write it with --eg-update" in missing.stdout.str()
    assert run("--eg-baseline", "init.json", "--eg-update").ret == 0
    kept = (folder / "init.json").read_text()
    assert run("--eg-baseline", "init.json").ret == 0
    assert (folder / "init.json").read_text() == kept

    (folder / "reader.py").write_text(MODEL.replace("torch.randn(queries, width)", "0.7 * torch.randn(queries, width)"))
    changed = run("--eg-baseline", "init.json", "--eg-sarif", "init.sarif")
    assert changed.ret == 1
    assert "queries  parameter/std: 1.0" in changed.stdout.str()
    assert "-> 0.7" in changed.stdout.str()
    assert "if this is intended, run pytest with --eg-update" in changed.stdout.str()
    results = json.loads((folder / "init.sarif").read_text())["runs"][0]["results"]
    assert {r["ruleId"] for r in results} == {"EG059"}
    assert results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "test_reader.py"

    (folder / "reader.py").write_text(MODEL.replace("nn.Linear(width, 16)", "nn.Linear(width, 32)"))
    assert "head.weight  shape: 16x64 -> 32x64  (allowed no change)" in run("--eg-baseline", "init.json").stdout.str()


def test_a_session_without_guards_loads_nothing(project):
    folder, run = project
    (folder / "test_reader.py").write_text(OTHER)
    done = run()
    assert done.returncode == 0, done.stdout


def test_the_marker_and_the_options_set_what_fails(here):
    folder, run = here
    (folder / "reader.py").write_text(MODEL.replace("        self.attention =", LINE + "        self.attention ="))
    marked = TEST.replace("def test_the", "import pytest\n\n\n@pytest.mark.init_guard(ignore=['EG050'])\ndef test_the")
    (folder / "test_reader.py").write_text(marked)
    assert run().ret == 0
    assert run("--eg-fail-on", "info").ret == 1  # EG001
    (folder / "test_reader.py").write_text(TEST)
    assert run("--eg-fail-on", "critical", "-m", "init_guard").ret == 0
    assert "1 deselected" in run("-m", "not init_guard").stdout.str()
