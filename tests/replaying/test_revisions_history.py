"""The history of ten commits of a small training: found by a toy oracle, and once by training."""

import os
import re
import subprocess
import sys

import pytest

from edgeglass_diag.replaying.revisions.commits import Ending, bisect
from edgeglass_diag.replaying.revisions.hunks import blame_hunks
from edgeglass_diag.replaying.revisions.replays import StateReplays
from edgeglass_diag.replaying.revisions.worktrees import Worktrees
from edgeglass_diag.replaying.search import Count
from examples.guilty_history import FAULTS, make_history

LINES = {"lr": "settings.py:5", "norm": "perceiver.py:16", "latents": "perceiver.py:10"}
"""Where the guilty line is at the end of the history."""


def read_ill(state, place):
    """Whether a state is ill, by its text."""
    text = {file: (place.folder / file).read_text() for file in ("settings.py", "perceiver.py")}
    ill = "lr = 3\n" in text["settings.py"] or "0.02" in text["perceiver.py"]
    return Count(3 * (ill or "self.norm(" not in text["perceiver.py"]), 3)


CHANCE = 3.178
"""ln 24: the loss of a batch of 24 pairs that nothing tells apart. The training learns if it is a third below it."""


def train_ill(state, place):
    """Whether a state is ill, by training with three seeds."""
    settings = place.folder / "settings.py"
    text, hits = settings.read_text(), 0
    for seed in range(3):
        settings.write_text(re.sub(r"(?m)^seed = \d+", f"seed = {seed}", text))
        command = [sys.executable, "train.py"]
        done = subprocess.run(
            command, cwd=place.folder, env=os.environ | place.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            return None
        hits += not float(done.stdout.split()[-1]) < CHANCE / 2
    return Count(hits, 3)


def searched(folder, replay):
    with Worktrees(folder) as trees:
        replays = StateReplays(trees, replay)
        found = bisect(trees, "HEAD~9", replays.of_revision)
        return found, blame_hunks(trees, found.good, found.bad, replays) if found.suspects else None


def check(found, blame, guilty, fault):
    assert (found.ending, found.suspects) == (Ending.FOUND, (guilty,))
    assert (len(blame.hunks), str(blame.healthy), str(blame.ill)) == (3, "0/3", "3/3")
    for result in (blame.cures, blame.made_ill):
        (only,) = result.sets
        assert blame.names(only) == [LINES[fault]]
        assert {name: str(count) for name, count in result.singles.items()} == {
            name: "3/3" if name in only else "0/3" for name in blame.hunks
        }


LONG = pytest.mark.long


@pytest.mark.parametrize(
    ("fault", "number"), [("norm", 6), pytest.param("lr", 1, marks=LONG), pytest.param("latents", 9, marks=LONG)]
)
def test_the_guilty_line_is_found(tmp_path, fault, number):
    hashes = make_history(tmp_path / "user", fault=fault, guilty=number)
    assert len(hashes) == 10
    found, blame = searched(tmp_path / "user", read_ill)
    check(found, blame, hashes[number], fault)


def test_a_history_without_a_fault(tmp_path):
    make_history(tmp_path / "user", fault=None)
    found, _ = searched(tmp_path / "user", read_ill)
    assert found.ending is Ending.PRESENT_IS_HEALTHY


@LONG
@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_the_guilty_line_is_found_by_training(tmp_path, fault):
    hashes = make_history(tmp_path / "user", fault=fault)
    found, blame = searched(tmp_path / "user", train_ill)
    check(found, blame, hashes[6], fault)
