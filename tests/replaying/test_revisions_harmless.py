"""The user's repository and files are the same to the byte and the nanosecond, whatever happens."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from edgeglass_diag.replaying.revisions.commits import bisect
from edgeglass_diag.replaying.revisions.hunks import blame_hunks
from edgeglass_diag.replaying.revisions.replays import StateReplays
from edgeglass_diag.replaying.revisions.worktrees import WORKING_TREE, State, Worktrees
from edgeglass_diag.replaying.search import Count
from tests.helpers.git_repositories import call_git, everything
from tests.helpers.processes import hear_ctrl_c


@pytest.fixture
def lively(repository, tmp_path):
    """A repository with hooks, a stash, a file monitor, a split index, notes and changes that are in no commit."""
    repository.commit({"train.py": "a\nb\nc\n", "empty.py": "", "keep.py": "1\n"})
    repository.commit({"train.py": "a\nB\nc\n"})
    repository.write({"keep.py": "2\n"})
    repository.git("stash", "push", "--quiet")
    repository.write({"train.py": "A\nB\nc\nd\n", "new.py": "", "data/pairs.bin": b"\0", "staged.py": "a\nb\nc\n"})
    repository.git("add", "staged.py")
    for name, value in {"core.untrackedCache": "true", "core.splitIndex": "true", "gc.auto": "1"}.items():
        repository.git("config", name, value)
    repository.git("update-index", "--split-index", "--untracked-cache")
    hooks = repository.folder / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "post-index-change", "reference-transaction", "fsmonitor-watchman"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path / 'hook-ran'}\n")
        (hooks / name).chmod(0o755)
    repository.git("config", "core.fsmonitor", str(hooks / "fsmonitor-watchman"))
    (repository.folder / "keep.py").touch()  # its entry in the index is old: git status would renew it
    (tmp_path / "hook-ran").unlink(missing_ok=True)
    return repository


def is_ill(state, place):
    return Count(3 if "B" in (place.root / "train.py").read_text() else 0, 3)


def search_all(folder, scratch):
    with Worktrees(folder, scratch) as trees:
        replays = StateReplays(trees, is_ill)
        found = bisect(trees, "HEAD~1", replays.of_revision)
        blame = blame_hunks(trees, found.good, found.bad, replays)
        with trees.place(State(WORKING_TREE)) as place:
            (place.root / "train.py").write_text("a program may write\n")
            call_git(place.root, "checkout", "--quiet", "-b", "own")  # or make branches
        return found, blame


def test_a_whole_search_changes_nothing(lively, scratch, tmp_path):
    before = everything(lively.folder)
    found, blame = search_all(lively.folder, scratch)
    assert found.suspects == (lively.git("rev-parse", "HEAD"),)
    assert everything(lively.folder) == before
    assert not (tmp_path / "hook-ran").exists()
    assert not list(scratch.iterdir())
    assert [blame.names(each) for each in blame.cures.sets] == [["train.py:2"]]


def test_the_comparison_can_fail(lively):
    before = everything(lively.folder)
    call_git(lively.folder, "worktree", "add", "--quiet", "--detach", str(lively.folder.parent / "other"))
    assert everything(lively.folder) != before


PROGRAM = """
    import sys
    from pathlib import Path
    from edgeglass_diag.replaying.revisions.worktrees import WORKING_TREE, State, Worktrees
    with Worktrees(Path(sys.argv[1]), Path(sys.argv[2])) as trees:
        with trees.place(State(WORKING_TREE)), trees.place(State(trees.commit("HEAD~1"))):
            print("ready", flush=True)
            sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_search_that_is_ended(lively, scratch, number):
    before = everything(lively.folder)
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(lively.folder), str(scratch)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **pipes, preexec_fn=hear_ctrl_c) as child:
        assert child.stdout.readline() == b"ready\n"
        os.kill(child.pid, number)
        child.wait()
    assert everything(lively.folder) == before
    assert len(call_git(lively.folder, "worktree", "list").splitlines()) == 1
    assert bool(list(scratch.iterdir())) == (number == signal.SIGKILL)
