"""Lightning's DDP with the callback: one run of two ranks, which stop together."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import edgeglass_diag as eg
from tests.helpers.waiting import PATIENCE

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "helpers" / "framework_trainings.py"
TWO = {"devices": 2, "strategy": "ddp"}


def losses(folder, out, options, training):
    """Return the losses of both ranks, in no order."""
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "models")))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    words = ["lightning", out, json.dumps(options), json.dumps({**TWO, **training})]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *words],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [line.removeprefix("SAID ") for line in done.stdout.splitlines() if line.startswith("SAID ")]
    assert len(said) == 2, done.stdout + done.stderr
    return sorted(map(json.loads, said)), done.stderr


def test_both_ranks_are_one_run_and_train_as_without(tmp_path):
    watched, said = losses(tmp_path, "run", {"every": 1}, {"epochs": 10})
    assert watched == losses(tmp_path, "-", {}, {"epochs": 10})[0]
    run = eg.load(tmp_path / "run")
    assert sorted(run.ranks) == [0, 1]
    assert [rank.last_step for rank in run.ranks.values()] == [29, 29]
    assert "EG301" in {finding.code for finding in run.findings}
    assert said.count("CRITICAL EG301") == 1


def test_both_ranks_stop_at_the_same_step(tmp_path):
    (first, second), _ = losses(tmp_path, "run", {"stop_on": ["EG301"]}, {"epochs": 10**6})
    assert len(first) == len(second)
    assert {rank.status for rank in eg.load(tmp_path / "run").ranks.values()} == {"stopped"}
