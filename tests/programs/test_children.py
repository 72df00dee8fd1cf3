"""The processes that a program starts: each that trains has a record, and the run is read as one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from edgeglass_diag.programs.bootstrap.edgeglass_diag_after_import import VARIABLE
from edgeglass_diag.programs.environment import propagate_env
from edgeglass_diag.programs.options import ProcessOptions
from edgeglass_diag.store import find_runs, load

RANKS = """
    import os, sys
    import torch, torch.distributed as dist
    from torch import nn
    import torch.nn.functional as F
    from torch.nn.parallel import DistributedDataParallel

    def work(rank=None, world=None):
        if rank is not None:
            os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": sys.argv[1], "WORLD_SIZE": str(world)}
            dist.init_process_group("gloo", rank=rank, world_size=world)
        else:
            dist.init_process_group("gloo")
        rank = dist.get_rank()
        torch.manual_seed(rank)
        model = DistributedDataParallel(nn.Linear(6, 8))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for step in range(40):
            loss = F.cross_entropy(model(torch.randn(8, 6)), torch.arange(8))
            optimizer.zero_grad(); loss.backward()
            if rank == 1 and step > 20: model.module.weight.grad.fill_(float("nan"))
            optimizer.step()
        del model  # or gloo ends its threads with the interpreter locked, and may wait for ever
        dist.destroy_process_group()
        print(f"rank {rank} is done\\n", end="")  # one write: the others print as well
        if rank == 1 and "fails" in sys.argv: sys.exit(3)
"""


def torchrun(programs, *words, own=()):
    launcher = ("torch.distributed.run", "--nproc-per-node", "2", "--standalone")  # at a free port
    return programs.watched("-m", *launcher, *words, own=own)


def test_torchrun_is_read_as_the_lowest_rank_with_the_findings_of_all(programs, command):
    programs.write("train.py", RANKS + "    work()")
    done = torchrun(programs, "train.py", own=("--json",))
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)["runs"]
    assert (told["ranks"], told["exit_status"], told["last_step"]) == ([0, 1], 0, 36)
    assert "rank 0 is done" in done.stderr
    out = programs.folder / "run"
    assert find_runs(programs.folder) == find_runs(out) == [out]
    with load(out) as run:
        assert {rank: (r.status, r.last_step) for rank, r in run.ranks.items()} == {
            0: ("finished", 36), 1: ("finished", 36),
        }  # fmt: skip
        frame = run.frame("loss/total")
        assert list(frame.columns) == ["rank", "step", "site", "component", "value"]
        assert frame.groupby("rank").size().tolist() == [run.windows] * 2
        first = frame[frame.step == 0].set_index("rank").value
        assert first[0] != first[1]
        assert run.readings("loss/total")[0][1].values[0] == first[0]
    found = json.loads(command("findings", out, "--json").stdout)
    assert found == told["findings"]


@pytest.mark.long  # a child that fails, and one that ends well, are below as well
def test_the_children_end_as_they_did(programs):
    programs.write("train.py", RANKS + "    work()")
    done = torchrun(programs, "train.py", "fails")
    assert done.returncode == 1
    # Both ranks find it; rank 0 tells.
    assert done.stderr.count("edgeglass-diag: CRITICAL EG801") == 1
    with load(programs.folder / "run") as run:
        assert run.status == "failed"
        assert (run.ranks[1].status, run.ranks[1].result["error"]) == ("failed", "SystemExit: 3")


def test_spawned_processes_of_torch_multiprocessing(programs):
    source = """
    if __name__ == "__main__":
        torch.multiprocessing.spawn(work, (2,), nprocs=2)
    """
    programs.write("train.py", RANKS + source)
    # A RANK that is there for another reason must not make two processes one.
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    done = programs.copied("train.py", str(port), env={"RANK": "0", "LOCAL_RANK": "0"})
    assert done.returncode == 0, done.stderr
    with load(programs.folder / "run") as run:
        assert {rank: r.status for rank, r in run.ranks.items()} == {0: "finished", 1: "finished"}


@pytest.mark.long
def test_fabric_starts_the_other_ranks_from_the_script_that_is_rank_0(programs):
    source = """
        import torch
        from torch import nn
        import torch.nn.functional as F
        from lightning_fabric import Fabric
        fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
        fabric.launch()
        torch.manual_seed(0)
        model = nn.Linear(6, 8)
        model, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), 0.1))
        for step in range(3):
            loss = F.cross_entropy(model(torch.randn(8, 6)), torch.arange(8))
            optimizer.zero_grad(); fabric.backward(loss); optimizer.step()
        print(f"rank {fabric.global_rank}\\n", end="")
    """
    programs.write("train.py", source)
    done = programs.watched("train.py")
    assert (sorted(done.stdout.split()), done.returncode) == (["0", "1", "rank", "rank"], 0), done.stderr
    with load(programs.folder / "run") as run:
        assert {rank: (r.status, r.windows) for rank, r in run.ranks.items()} == {
            0: ("finished", 3),
            1: ("finished", 3),
        }
        assert run.ranks[0] is run
        assert run.ranks[1].folder.name == "rank-1"


@pytest.mark.long
def test_accelerate_launches_a_script_that_is_recorded(programs):
    source = """
        import torch
        from torch import nn
        import torch.nn.functional as F
        from accelerate import Accelerator
        accelerator = Accelerator(cpu=True)
        model = nn.Linear(6, 8)
        model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), 0.1))
        for step in range(3):
            loss = F.cross_entropy(model(torch.randn(8, 6)), torch.arange(8))
            optimizer.zero_grad(); accelerator.backward(loss); optimizer.step()
        print("done")
    """
    programs.write("train.py", source)
    words = "--cpu --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no train.py"
    done = programs.watched("-m", "accelerate.commands.launch", *words.split())
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr
    with load(programs.folder / "run") as run:
        (child,) = run.ranks.values()
        assert (child.status, child.windows, run.last_step) == ("finished", 3, 2)


def test_a_program_started_by_the_script_prints_its_findings_once(programs):
    programs.write("launch.py", "import subprocess, sys; subprocess.run([sys.executable, 'train.py'], check=True)")
    source = """
        import torch
        from torch import nn
        model = nn.Linear(4, 4)
        optimizer = torch.optim.SGD(model.parameters(), float("inf"))
        for step in range(30):
            loss = model(torch.randn(8, 4)).square().mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step()
    """
    programs.write("train.py", source)
    done = programs.watched("launch.py", "--lr", "1")
    assert done.stderr.count("edgeglass-diag: CRITICAL EG801") == 1
    with load(programs.folder / "run") as run:
        (child,) = run.ranks.values()
        assert child.header["command"] == ["train.py"]
        assert child.status == "finished"
        assert [f.code for f in run.findings] == [f.code for f in child.findings] != []


def test_a_child_stops_on_a_finding_and_its_errors_are_its_own(programs):
    programs.write(
        "launch.py", "import subprocess, sys; print(subprocess.run([sys.executable, 'train.py']).returncode)"
    )
    source = """
        import sys, torch
        from torch import nn
        model = nn.Linear(4, 4)
        optimizer = torch.optim.SGD(model.parameters(), float("inf"))
        for step in range(300):
            model(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
        model(torch.randn(8, 3))
    """
    programs.write("train.py", source)
    done = programs.watched("launch.py", own=("--stop-on", "EG801"))
    assert done.stdout == "1\n"
    assert "edgeglass-diag: stopped on EG801" in done.stderr
    assert "Traceback" not in done.stderr
    with load(programs.folder / "run") as run:
        assert [child.status for child in run.ranks.values()] == ["stopped"]
    done = programs.watched("launch.py", own=("--out", "second", "--ignore", "EG801"))
    assert done.stdout == "1\n"
    own = f'  File "{programs.folder / "train.py"}", line 9, in <module>'
    assert [line for line in done.stderr.splitlines() if "train.py" in line] == [own]
    assert done.stderr.count("Traceback") == 1
    assert "edgeglass_diag" not in done.stderr
    with load(programs.folder / "second") as run:
        (child,) = run.ranks.values()
        assert (child.status, child.result["error"].split(":")[0]) == ("failed", "RuntimeError")


def test_a_run_inside_of_a_run_is_one_of_its_own(programs):
    words = [programs.command, "run", "--out", "inner", "train.py"]
    programs.write("outer.py", f"import subprocess; subprocess.run({words})")
    source = """
        import torch
        model = torch.nn.Linear(4, 4)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for step in range(3):
            model(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
    """
    programs.write("train.py", source)
    assert programs.watched("outer.py").returncode == 0
    with load(programs.folder / "run") as outer, load(programs.folder / "inner") as inner:
        assert (outer.windows, list(outer.ranks)) == (0, [0])
        assert (inner.windows, inner.status) == (3, "finished")


def environment(tmp_path, monkeypatch, **more):
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv(VARIABLE, "")
    propagate_env(ProcessOptions(str(tmp_path / "run"), 10, {}))
    place = os.environ["PYTHONPATH"]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([place, *sys.path, *more.get("places", [])])}


def test_a_child_keeps_its_own_sitecustomize_and_its_path(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sitecustomize.py").write_text("import sys; sys.mark = __file__")
    surroundings = environment(tmp_path, monkeypatch)
    place, *others = surroundings["PYTHONPATH"].split(os.pathsep)
    surroundings["PYTHONPATH"] = os.pathsep.join([place, str(tmp_path / "own"), *others])
    code = "import sys; print(sys.mark, [p for p in sys.path if 'bootstrap' in p], 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=surroundings, capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path / 'own' / 'sitecustomize.py'} [] False\n"


def test_looking_for_torch_does_not_count_as_importing_it(tmp_path, monkeypatch):
    code = (
        "import importlib.util, sys; importlib.util.find_spec('torch'); assert 'torch' not in sys.modules; "
        "import torch; print(torch.__spec__.loader is torch.__loader__, sorted(vars(torch.__loader__))); "
        "print('edgeglass_diag.watching' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(tmp_path, monkeypatch), capture_output=True, text=True, check=True
    )
    assert done.stdout == "True ['name', 'path']\nTrue\n"
    assert not (tmp_path / "run").exists()


def test_a_child_that_cannot_be_attached_runs_on(tmp_path, monkeypatch):
    surroundings = environment(tmp_path, monkeypatch) | {VARIABLE: "{"}
    done = subprocess.run([sys.executable, "-c", "import torch; print(torch.ones(1))"], env=surroundings,
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout == "tensor([1.])\n"
    assert "is not watched" in done.stderr


def test_options_come_back_as_they_were():
    options = ProcessOptions("/a b/ü", 3, {"EG202": {"ratio": 0.1}}, ("EG801",), announce=False)
    assert ProcessOptions.parse(options.as_text()) == options
