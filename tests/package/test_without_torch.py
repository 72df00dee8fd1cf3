"""What reads records and logs does not load torch: it works where there is none, on any Python that we name."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.helpers.environments import linked_python
from tests.helpers.exported import recorded
from tests.package.conftest import REAL

ROWS = [{"step": step, "val/loss": 4.158883, "val/R@1": 0.9} for step in range(20)]


@pytest.fixture(scope="module")
def call(tmp_path_factory, installed):
    folder = tmp_path_factory.mktemp("light")
    recorded(folder / "mine")
    (folder / "log.json").write_text(json.dumps(ROWS))
    python = Path(REAL) if REAL else linked_python(folder / "venv", installed, without=("torch",))
    probe = "from importlib.util import find_spec; print(find_spec('torch'))"

    def run(*words):
        return subprocess.run([python, *words], cwd=folder, capture_output=True, text=True)

    assert run("-c", probe).stdout == "None\n"
    return lambda *words: run("-m", "edgeglass_diag", *words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("rules EG003", "EG003"),
        ("audit log.json", "batch_size = 64"),
        ("findings mine", "CRITICAL"),
        ("diagnose mine", "mine"),
        ("compare mine mine", "mine"),
    ],
)
def test_a_verb_that_needs_no_torch(call, words, said):
    done = call(*words.split())
    assert (done.returncode, said in done.stdout) == (0, True), done.stdout + done.stderr
