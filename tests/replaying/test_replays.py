"""Replays of whole programs in processes of their own."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from edgeglass_diag.replaying import landlock
from edgeglass_diag.replaying.runner import Replays, key_of, name_of
from edgeglass_diag.store import load
from tests.helpers.processes import hear_ctrl_c
from tests.helpers.waiting import until
from tests.replaying.conftest import STEPS, TRAIN

LAUNCHED = """
    import os, subprocess, sys, time
    sleep = "import time; time.sleep(1000)"
    for own in (False, True):
        subprocess.Popen([sys.executable, "-c", sleep], start_new_session=own)
    print("started", flush=True)
    time.sleep(1000)
"""
RANKS = """
    import torch, torch.distributed as dist
    from torch import nn
    import torch.nn.functional as F
    from torch.nn.parallel import DistributedDataParallel
    dist.init_process_group("gloo")
    model = DistributedDataParallel(nn.Linear(6, 8))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    open("log.txt", "w").write("new")
    for step in range(1000):
        loss = F.cross_entropy(model(torch.randn(8, 6)), torch.arange(8))
        optimizer.zero_grad(); loss.backward(); optimizer.step()
"""
PARENT = """
import sys
from pathlib import Path
from edgeglass_diag.replaying.plan import Plan
from edgeglass_diag.replaying.runner import Replays
Replays(Path(sys.argv[2])).run([Plan.parse(sys.argv[1])])
"""


def losses(folder):
    with load(folder) as run:
        return run.frame("loss/total").value.tolist()


def test_a_training(folder, command_server):
    """One test, as each replay imports torch."""
    old = folder.place / "checkpoints" / "last.pt"
    control, placebo = folder.plan(), folder.plan(environment={"PLACEBO": "1"})
    saving = folder.plan("train.py", "--save", str(old))
    *trained, refused = results = folder.replay(control, placebo, replace(control, seed=1), saving)

    assert [(each.ending, each.steps, each.error) for each in trained] == [("stopped", STEPS, "")] * 3, results
    first, again, other = (losses(each.folder) for each in trained)
    assert len(first) == STEPS
    assert first == again
    assert first != other
    assert results[0].guard == ("landlock" if landlock.version() >= landlock.COMPLETE else "audit hook")
    with load(results[2].folder) as run:
        assert (run.status, run.result["stopped_after"], run.result["refused"]) == ("stopped", STEPS, [])
        assert run.header["replay"] == "unchanged"
        assert run.header["program"] == {"kind": "script", "target": "train.py", "arguments": []}
        assert run.header["replay_of"]["seed"] == 1

    assert (refused.ending, refused.refused, refused.is_resolved) == ("refused", (str(old),), False)
    assert refused.error == f"{old}: a replay writes in its scratch folder alone; --allow-write '{old}' lets it"
    assert [(folder.place / name).read_text() for name in ("checkpoints/last.pt", "log.txt")] == ["old", "old"]

    assert not (folder.out / f"{name_of(control)}.replay" / "scratch").exists()
    assert folder.replay(control) == results[:1]  # is read, not made again

    ordinary = ["run", "--every", "1", "--out", str(folder.out / "run"), "train.py"]
    done = command_server.run(*ordinary, cwd=folder.place)
    assert done.returncode == 0, done.stderr
    assert losses(folder.out / "run")[:STEPS] == first


@pytest.mark.long  # the pattern is tried without a training as well
def test_an_absolute_path_that_is_allowed_is_written(folder):
    old = folder.place / "checkpoints" / "last.pt"
    plan = folder.plan("train.py", "--save", str(old), writable=("checkpoints/*.pt",))
    (allowed,) = folder.replay(plan)
    assert (allowed.ending, allowed.refused) == ("stopped", ())
    assert old.read_bytes() != b"old"


@pytest.mark.long
@pytest.mark.parametrize(("kind", "target"), [("module", "package.train"), ("folder", "package")])
def test_modules_and_folders_are_replayed(folder, kind, target):
    folder.write("package/__init__.py", "")
    folder.write("package/train.py", TRAIN)
    folder.write("package/__main__.py", TRAIN)
    (done,) = folder.replay(folder.plan(target, "--lr", "0.2", kind=kind))
    assert (done.ending, done.steps) == ("stopped", STEPS), done
    assert not (folder.place / "package" / "log.txt").exists()


def test_a_crash_is_a_result(folder):
    folder.write("crash.py", "import sys\nprint('about to fail', file=sys.stderr)\nraise ValueError('no data')")
    folder.write("exits.py", "raise SystemExit(3)")
    folder.write("late.py", "import time; time.sleep(1000)")
    (crashed, left) = folder.replay(folder.plan("crash.py"), folder.plan("exits.py"))
    assert (crashed.ending, crashed.error) == ("crashed", "ValueError: no data")
    assert crashed.tail[0] == "about to fail"
    assert crashed.tail[-1] == "ValueError: no data"
    assert (left.ending, left.error) == ("crashed", "SystemExit: 3")
    (late,) = folder.replay(folder.plan("late.py"), timeout=0.5)
    assert late.ending == "timed out"


def test_none_begins_once_the_budget_is_spent(folder):
    replays = Replays(folder.out, deadline=0.0)
    assert replays.run([folder.plan()]) == {}
    assert replays.is_budget_spent


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_the_one_who_asked(folder, how):
    folder.write("launch.py", LAUNCHED)
    plan = folder.plan("launch.py")
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, plan.as_text(), str(folder.out)],
        stderr=subprocess.DEVNULL,
        process_group=0,
        preexec_fn=hear_ctrl_c,
    )
    log = folder.out / f"{name_of(plan)}.replay" / "output.log"
    until(lambda: log.exists() and "started" in log.read_text(), "the program runs")
    below = psutil.Process(parent.pid).children(recursive=True)
    assert len(below) == 4  # guardian, program, and what that started
    parent.send_signal(how)
    parent.wait()
    until(lambda: not any(each.is_running() for each in below), "all of them are gone")


def test_a_program_that_sets_no_seed_gets_one(folder):
    folder.write("draws.py", "import random, numpy\nprint(random.random(), numpy.random.rand(), hash('a'))")
    folder.write("seeds.py", "import random\nrandom.seed(5)\nprint(random.random())")
    draws, seeds = folder.plan("draws.py"), folder.plan("seeds.py")
    first, again, other, shifted = folder.replay(
        draws, replace(draws, steps=13), replace(draws, seed=2), replace(seeds, seed=2)
    )
    assert first.tail == again.tail != other.tail
    assert shifted.tail == (str(random.Random(7).random()),)


def test_the_key_is_that_of_the_plan(folder):
    plan = folder.plan()
    keys = {
        key_of(each) for each in (plan, replace(plan, seed=1), replace(plan, steps=13), folder.plan("train.py", "a"))
    }
    assert len(keys) == 4
    assert key_of(replace(plan, out="/elsewhere", scratch="/there")) == key_of(plan)
    assert key_of(replace(plan, sources="edited")) != key_of(plan)
    assert json.loads(plan.as_text())["target"] == "train.py"
    assert Path(plan.folder).is_dir()


@pytest.mark.long
def test_the_ranks_of_torchrun_are_guarded_seeded_and_stopped(folder):
    folder.write("ranks.py", RANKS)
    launcher = ("--nproc-per-node", "2", "--standalone", "ranks.py")
    (done,) = folder.replay(folder.plan("torch.distributed.run", *launcher, kind="module"))
    assert (done.ending, done.steps) == ("stopped", STEPS), done
    with load(done.folder) as run:
        assert {rank: each.result["stopped_after"] for rank, each in run.ranks.items()} == {0: STEPS, 1: STEPS}
    assert (folder.place / "log.txt").read_text() == "old"
