"""Environments with this package as pip installs it: linked together here, or those that ``make test-package`` made."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.helpers.command_server import CommandServer
from tests.helpers.environments import linked_python

ROOT = Path(__file__).resolve().parents[2]
REAL = os.environ.get("EDGEGLASS_PACKAGE_PYTHON")
"""The interpreter of an environment into which pip has installed the package."""

TRAIN = """\
import torch
from torch import nn

torch.manual_seed(0)
image, text = nn.Linear(16, 8), nn.Linear(12, 8)
scale = nn.Parameter(torch.tensor(2.6))
optimizer = torch.optim.AdamW([*image.parameters(), scale], lr=1e-2)
meanings, labels = torch.randn(64, 4), torch.arange(64)
seen, read = torch.randn(4, 16), torch.randn(4, 12)
for step in range(30):
    a = nn.functional.normalize(image(meanings @ seen), dim=1)
    b = nn.functional.normalize(text(meanings @ read), dim=1)
    logits = scale.exp() * a @ b.T
    loss = (nn.functional.cross_entropy(logits, labels) + nn.functional.cross_entropy(logits.T, labels)) / 2
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
"""A training in which the text's weights are in no optimizer."""


NUMPY_PAIRS = "import numpy as np; e = np.random.default_rng(0).normal(size=(2, 32, 8)); np.save('pairs.npy', e)"
"""Embeddings of pairs, to be made by a process."""


class Installed:
    """An environment in which the package is installed, and a folder to work in.

    Attributes:
        python: its interpreter.
        folder: where commands run; it has train.py, a log and embeddings.
    """

    def __init__(self, python: Path, folder: Path) -> None:
        self.python, self.folder = python, folder
        (folder / "place").mkdir()
        (folder / "place" / "tests").symlink_to(ROOT / "tests")
        self.server = CommandServer(("torch", "pandas", "edgeglass_diag.commands"), python, folder / "place")
        (folder / "train.py").write_text(TRAIN)

    def __call__(self, *arguments: object):
        """Run the command line; return how it ended."""
        return self.server.run(*map(str, arguments), cwd=self.folder)

    def python_says(self, code: str) -> str:
        """Run code in a process of its own, and return what it printed."""
        line = [str(self.python), "-c", code]
        return subprocess.run(line, cwd=self.folder, capture_output=True, text=True, check=True).stdout


def environment(folder: Path, installed: Path, *extras: str) -> Path:
    return Path(REAL) if REAL else linked_python(folder / "venv", installed, *extras)


@pytest.fixture(scope="session")
def core(tmp_path_factory, installed):
    """The package without extras."""
    folder = tmp_path_factory.mktemp("core")
    made = Installed(environment(folder, installed), folder)
    yield made
    made.server.close()
