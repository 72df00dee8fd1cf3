"""Replays of whole programs in processes of their own."""

from __future__ import annotations

import json
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


def test_a_control_repeats_and_another_seed_differs(folder, command_server):
    control, placebo = folder.plan(), folder.plan(environment={"PLACEBO": "1"})
    results = folder.replay(control, placebo, replace(control, seed=1))
    assert [(each.ending, each.steps, each.error) for each in results] == [("stopped", STEPS, "")] * 3, results
    first, again, other = (losses(each.folder) for each in results)
    assert len(first) == STEPS
    assert first == again
    assert first != other
    assert results[0].guard == ("landlock" if landlock.version() >= 3 else "audit hook")
    assert [(folder.place / name).read_text() for name in ("checkpoints/last.pt", "log.txt")] == ["old", "old"]
    with load(results[2].folder) as run:
        assert (run.status, run.result["stopped_after"], run.result["refused"]) == ("stopped", STEPS, [])
        assert run.header["replay"] == "unchanged"
        assert run.header["program"] == {"kind": "script", "target": "train.py", "arguments": []}
        assert run.header["replay_of"]["seed"] == 1
    assert not (folder.out / f"{name_of(control)}.replay" / "scratch").exists()
    assert folder.replay(control) == results[:1]  # is read, not made again


def test_an_ordinary_run_has_the_losses_of_the_control(folder, command_server):
    folder.write("train.py", TRAIN.replace("np.random.seed(2)", "np.random.seed(2); random.seed(4)"))
    line = ["run", "--every", "1", "--out", str(folder.out / "run"), "train.py"]
    done = command_server.run(*line, cwd=folder.place)
    assert done.returncode == 0, done.stderr
    folder.write("checkpoints/last.pt", "old")
    (control,) = folder.replay(folder.plan())
    assert losses(control.folder) == losses(folder.out / "run")[:STEPS]


def test_an_absolute_path_to_a_file_that_was_there_is_refused(folder):
    old = folder.place / "checkpoints" / "last.pt"
    (refused,) = folder.replay(folder.plan("train.py", "--save", str(old)))
    assert refused.ending == "refused"
    assert refused.refused == (str(old),)
    assert refused.error == f"{old}: a replay writes in its scratch folder alone; --allow-write '{old}' lets it"
    assert not refused.is_resolved
    assert old.read_text() == "old"


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
        [sys.executable, "-c", PARENT, plan.as_text(), str(folder.out)], stderr=subprocess.DEVNULL, process_group=0
    )
    log = folder.out / f"{name_of(plan)}.replay" / "output.log"
    until(lambda: log.exists() and "started" in log.read_text(), "the program runs")
    below = psutil.Process(parent.pid).children(recursive=True)
    assert len(below) == 4  # guardian, program, and what that started
    parent.send_signal(how)
    parent.wait()
    until(lambda: not any(each.is_running() for each in below), "all of them are gone")


def test_the_key_is_that_of_the_plan_and_its_script(folder):
    plan = folder.plan()
    keys = {
        key_of(each) for each in (plan, replace(plan, seed=1), replace(plan, steps=13), folder.plan("train.py", "a"))
    }
    assert len(keys) == 4
    assert key_of(replace(plan, out="/elsewhere", scratch="/there")) == key_of(plan)
    before = key_of(plan)
    folder.write("train.py", "pass")
    assert key_of(plan) != before
    assert json.loads(plan.as_text())["target"] == "train.py"
    assert Path(plan.folder).is_dir()
