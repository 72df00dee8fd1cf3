"""``profile``: of a script, a recipe, and processes that a program starts; read by TensorBoard's own plugin."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from edgeglass_diag.profiling.options import traces
from edgeglass_diag.profiling.summary import PHASES
from tests.helpers.program_runs import Programs
from tests.helpers.waiting import PATIENCE, until

LOADS = """
    import sys
    from clip_parts import *
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    data = TensorDataset(torch.randn(160, 6), torch.randn(160, 5))
    train(Clip(), int(sys.argv[1]), iter(DataLoader(data, 8)))
    sys.exit(int(sys.argv[2]))
"""
FORKS = """
    from clip_parts import *
    import torch.multiprocessing as mp

    def work(rank):
        import os
        os.environ["RANK"] = str(rank)
        train(Clip(), 6)

    if __name__ == "__main__":
        mp.spawn(work, nprocs=2)
"""
PLUGIN = "data/plugin/pytorch_profiler"


def profiled(programs, *words, own=()):
    return programs.copied(*words, own=own, verb="profile")


@pytest.fixture(scope="module")
def script(tmp_path_factory, command_server):
    """A folder with a script, and how its profile ended."""
    programs = Programs(tmp_path_factory.mktemp("script"), command_server)
    programs.write("train.py", LOADS, clip=True)
    return programs, profiled(programs, "train.py", "12", "3")


def test_a_script_is_profiled_and_keeps_its_output_and_status(script):
    programs, done = script
    plain = programs.alone("train.py", "12", "3")
    assert (done.stdout, done.returncode) == (plain.stdout, plain.returncode) == (plain.stdout, 3), done.stderr
    assert "run: 5 steps, " in done.stderr
    (file,) = traces(programs.folder / "run")
    assert re.fullmatch(r"process-\d+\.\d+\.pt\.trace\.json", file.name)
    spans = [event for event in json.loads(file.read_text())["traceEvents"] if event.get("ph") == "X"]
    assert {s["name"] for s in spans if s["name"].startswith("ProfilerStep")} == {
        f"ProfilerStep#{k}" for k in range(3, 8)
    }
    names = [span["name"] for span in spans]
    for name in ("edgeglass_diag: forward", "edgeglass_diag: backward", "Optimizer.step#SGD.step"):
        assert names.count(name) == 5, name


def test_json_has_phases_that_add_up_to_the_step(programs):
    programs.write("train.py", LOADS, clip=True)
    done = profiled(programs, "train.py", "12", "0", own=("--json", "--steps", "4", "--skip", "1", "--stop"))
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert (run["steps"], run["status"], run["data_seen"]) == (4, "stopped", True)
    assert [row["step"] for row in run["per_step"]] == [1, 2, 3, 4]
    assert list(run["phases"]) == list(PHASES)
    for row in run["per_step"]:
        assert sum(row[phase] for phase in PHASES) == pytest.approx(row["seconds"])
        assert all(row[phase] > 0 for phase in PHASES)
    assert run["step_seconds"] == pytest.approx(sum(entry["seconds"] for entry in run["phases"].values()))
    assert any(entry["name"].startswith("aten::") for entry in run["operators"])  # the slowest, whichever they are
    printed = [line for line in done.stderr.splitlines() if re.match(r"\d+ \d", line)]
    assert len(printed) == 4  # the fifth step does not return


def test_a_program_that_ends_early_has_what_there_was(programs):
    programs.write("train.py", LOADS, clip=True)
    done = profiled(programs, "train.py", "5", "7", own=("--json",))
    (run,) = json.loads(done.stdout)["runs"]
    assert (run["steps"], run["asked"], run["status"]) == (2, 5, "failed")
    assert run["exit_status"] == done.returncode == 7


def test_where_nothing_can_be_profiled_it_says_so(programs):
    programs.write("train.py", LOADS, clip=True)
    done = profiled(programs, "train.py", "2", "0")
    assert done.returncode == 2
    assert "nothing profiled: expected more than 3 optimizer steps (--skip)" in done.stderr.splitlines()[-1]


def test_wrong_use_is_named(programs, command):
    programs.write("train.py", LOADS, clip=True)
    for words, said in (
        ((), "expected a recipe, a YAML file or a program, got none"),
        (("basline",), "did you mean 'baseline'?"),
        (("train.py", "--lr", "2"), "profile train.py -- --lr 2e-3"),
        (("--set", "a=1", "train.py"), "--set a=1: is for recipes"),
    ):
        done = command("profile", *words, cwd=programs.folder)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert said in done.stderr


@pytest.mark.long
def test_each_process_has_a_trace(programs):
    programs.write("train.py", FORKS, clip=True)
    done = profiled(programs, "train.py", own=("--json", "--steps", "2", "--skip", "2"))
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert [Path(name).name.split(".")[0] for name in run["traces"]] == ["rank-0", "rank-1"]
    assert run["steps"] == 4


def test_a_recipe_ends_behind_its_traced_steps(tmp_path, command, feature_cache):
    small = ["data.train=48", "data.val=8", "data.test=8", "train.batch_size=8"]
    settings = [word for setting in small for word in ("--set", setting)]
    done = command("profile", "baseline", *settings, "--steps", 3, "--out", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert (run["name"], run["steps"], run["status"], run["data_seen"]) == ("baseline", 3, "stopped", True)
    assert Path(run["traces"][0]).name.startswith("rank-0.")


@pytest.fixture
def tensorboard(script):
    """TensorBoard over the profile of a script; gives its address."""
    programs, _ = script
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    line = [sys.executable, "-m", "tensorboard.main", "--logdir", "run", "--port", str(port), "--load_fast=false"]
    with (programs.folder / "tensorboard.log").open("w") as log:
        server = subprocess.Popen(
            line, cwd=programs.folder, stdout=log, stderr=log, start_new_session=True, env={**os.environ}
        )
    yield f"http://127.0.0.1:{port}"
    os.killpg(server.pid, signal.SIGTERM)
    server.wait(PATIENCE)


def ask(address, path, **query):
    with urllib.request.urlopen(
        f"{address}/{PLUGIN}/{path}?{urllib.parse.urlencode(query)}", timeout=PATIENCE
    ) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_the_plugin_of_tensorboard_opens_the_trace(tensorboard):
    def loaded():
        said = ask(tensorboard, "runs")
        return said["runs"] if said["runs"] and not said["loading"] else None

    (run,) = until(loaded, "TensorBoard has loaded the trace", errors=OSError)
    assert run == "profile"
    assert {"Overview", "Operator", "Trace"} <= set(ask(tensorboard, "views", run=run))
    (worker,) = ask(tensorboard, "workers", run=run, view="Overview")
    (span,) = ask(tensorboard, "spans", run=run, worker=worker)
    overview = ask(tensorboard, "overview", run=run, worker=worker, span=span, view="Overview")
    assert [row[0] for row in overview["steps"]["rows"]] == ["3", "4", "5", "6", "7"]
    assert {"DataLoader", "CPU Exec", "Other"} <= {column.get("name") for column in overview["steps"]["columns"]}
    table = ask(tensorboard, "operation/table", run=run, worker=worker, span=span, group_by="Operation")
    assert "aten::linear" in {row["name"] for row in table["data"]}
