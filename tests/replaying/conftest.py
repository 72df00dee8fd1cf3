"""Folders with training programs, repositories of git, and replays."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from edgeglass_diag.replaying.plan import Plan
from edgeglass_diag.replaying.runner import Replays, key_of
from tests.helpers.git_repositories import OWN, GitRepository

STEPS = 12

TRAIN = """
    import argparse, random
    from pathlib import Path
    import numpy as np
    import torch
    from torch import nn
    import torch.nn.functional as F
    from torch.utils.data import DataLoader, TensorDataset, random_split

    def main():
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float, default=0.1)
        parser.add_argument("--save", default="checkpoints/last.pt")
        asked = parser.parse_args()
        torch.manual_seed(0)
        np.random.seed(2); random.seed(4)
        scale = float(Path("data/scale.txt").read_text()) + np.random.rand() + random.random()
        pairs = TensorDataset(scale * torch.randn(400, 6), torch.arange(400) % 8)
        kept, _ = random_split(pairs, [320, 80], generator=torch.Generator().manual_seed(3))
        model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.1), nn.Linear(8, 8))
        optimizer = torch.optim.SGD(model.parameters(), asked.lr)
        for step, (images, labels) in enumerate(DataLoader(kept, 8, shuffle=True, num_workers=1)):
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad(); loss.backward(); optimizer.step()
            if step == 4:
                torch.save(model.state_dict(), asked.save)
                (Path(__file__).resolve().parent / "log.txt").write_text("new")

    if __name__ == "__main__":
        main()
"""


class Folder:
    """A folder ``program`` with programs, whose replays go to ``out``."""

    def __init__(self, place: Path) -> None:
        self.place, self.out = place / "program", place / "out"
        self.write("data/scale.txt", "1.5")
        self.write("checkpoints/last.pt", "old")
        self.write("log.txt", "old")
        self.write("train.py", TRAIN)

    def write(self, name: str, text: str) -> None:
        file = self.place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))

    def plan(self, target: str = "train.py", *arguments: str, kind: str = "script", **others: object) -> Plan:
        return Plan(kind, target, arguments, "", STEPS, folder=str(self.place), **others)

    def replay(self, *plans: Plan, **options: object):
        """The results in the order of the plans."""
        done = Replays(self.out, workers=2, **options).run(plans)
        return [done[key_of(plan)] for plan in plans]


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


@pytest.fixture(autouse=True)
def _no_settings_of_git(monkeypatch):
    """Leave out the settings of git of whoever runs the tests."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"):
        monkeypatch.setenv(name, OWN[name])


@pytest.fixture
def repository(tmp_path):
    return GitRepository(tmp_path / "user")


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder
