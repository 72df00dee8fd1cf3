"""Training programs: what is recorded of them, and that they do not notice."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from types import SimpleNamespace

import pytest

from edgeglass_diag.programs.run_program import _outcome
from edgeglass_diag.store import find_runs, load
from tests.helpers.processes import hear_ctrl_c
from tests.helpers.waiting import PATIENCE, until_step

TRAINS = """
    from clip_parts import *
    torch.manual_seed(0)
    train(Clip(), 5)
"""
LOADS = """
    from clip_parts import *
    from torch.utils.data import DataLoader, Dataset

    class Pairs(Dataset):
        def __len__(self): return 80
        def __getitem__(self, i):
            torch.manual_seed(i)
            return torch.randn(6), nn.Linear(5, 5)(torch.randn(5)).detach()

    if __name__ == "__main__":
        import sys
        torch.manual_seed(0)
        model = Clip()
        for epoch in range(2):
            loader = DataLoader(Pairs(), 8, num_workers=1, multiprocessing_context=sys.argv[1])
            train(model, 10, iter(loader))
"""
ILL = """
    from clip_parts import *
    torch.manual_seed(0)
    model = Clip()
    optimizer = torch.optim.SGD(model.parameters(), 1e4)
    for step in range(60):
        loss = contrastive(model, *random_batch()) * float("inf" if step > 20 else 1)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        print(step, flush=True)
"""


def test_a_script_that_trains_prints_the_same_losses_and_they_are_recorded(programs):
    programs.write("train.py", TRAINS, clip=True)
    plain, watched = programs.alone("train.py"), programs.watched("train.py", own=("--every", "1"))
    assert (watched.stdout, watched.returncode) == (plain.stdout, 0)
    printed = [float(line.split()[1]) for line in plain.stdout.splitlines()]
    with load(programs.folder / "run") as run:
        assert run.frame("loss/total").value.tolist() == pytest.approx(printed, rel=1e-6)
        assert run.header["program"] == {"kind": "script", "target": "train.py", "arguments": []}
        assert list(run.ranks) == [0]
        assert [origin.name for origin in run.origins if origin.writes] == [
            "image.weight", "image.bias", "text.weight", "text.bias",
        ]  # fmt: skip
    assert "no findings" in watched.stderr


def test_json_is_alone_on_stdout_and_the_programs_output_on_stderr(programs):
    programs.write("train.py", TRAINS + "    import os; os.system('echo from a child')", clip=True)
    watched = programs.copied("train.py", own=("--json",))
    (run,) = json.loads(watched.stdout)["runs"]
    losses = [float(line.split()[1]) for line in watched.stderr.splitlines() if re.match(r"\d ", line)]
    assert len(losses) == 5
    assert "from a child" in watched.stderr
    assert "no findings" not in watched.stderr
    assert set(run) == {
        "name", "out", "status", "seconds", "steps", "last_step", "train_loss", "windows", "exit_status", "ranks",
        "findings",
    }  # fmt: skip
    assert run["train_loss"] == pytest.approx(sum(losses) / 5)
    assert (run["status"], run["last_step"], run["windows"], run["exit_status"]) == ("finished", 4, 5, 0)


def test_json_tells_of_an_error_and_the_status_is_the_scripts(programs):
    programs.write("train.py", TRAINS + "    raise SystemExit(7)", clip=True)
    watched = programs.copied("train.py", own=("--json",))
    (run,) = json.loads(watched.stdout)["runs"]
    assert watched.returncode == run["exit_status"] == 7
    assert (run["status"], run["error"], run["windows"]) == ("failed", "SystemExit: 7", 5)


def test_a_script_that_never_steps_is_readable_and_says_so(programs, command):
    programs.write("train.py", "from clip_parts import *\nprint(Clip()(*random_batch())[0].shape)", clip=True)
    programs.copied("train.py")
    assert "no optimizer step (windows recorded: 1), no findings" in command("findings", programs.folder / "run").stdout
    done = command("findings", programs.folder / "run", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, [])


def test_an_error_in_the_training_keeps_its_traceback_and_the_record(programs):
    programs.write("train.py", TRAINS + "    contrastive(Clip(), torch.randn(8, 6), torch.randn(8, 4))", clip=True)
    plain, watched = programs.plain("train.py"), programs.watched("train.py")
    own = [line for line in plain.stderr.splitlines() if str(programs.folder) in line]
    assert own
    assert [line for line in watched.stderr.splitlines() if 'File "' + str(programs.folder) in line] == own
    assert "edgeglass_diag" not in watched.stderr
    assert plain.stderr.splitlines()[-1] in watched.stderr
    assert watched.returncode == 1
    with load(programs.folder / "run") as run:
        assert run.status == "failed"
        assert run.result["error"].startswith("RuntimeError: mat1 and mat2")
        assert run.windows == 5


@pytest.mark.parametrize(
    "method", ["fork", *(pytest.param(method, marks=pytest.mark.long) for method in ("spawn", "forkserver"))]
)
def test_loader_workers_leave_nothing_behind_and_change_nothing(programs, method):
    programs.write("train.py", LOADS, clip=True)
    alone = programs.alone if method == "fork" else programs.plain  # others import the program's file by its path
    plain, watched = alone("train.py", method), programs.copied("train.py", method)
    assert plain.stdout, plain.stderr
    assert (watched.stdout, watched.returncode) == (plain.stdout, 0), watched.stderr
    assert find_runs(programs.folder) == [programs.folder / "run"]
    assert [p.name for p in (programs.folder / "run").iterdir() if p.is_dir()] == ["embeddings"]
    with load(programs.folder / "run") as run:
        assert run.status == "finished"
        assert run.last_step == 18
        assert "recording" not in run.result


def test_a_copy_forked_in_the_middle_neither_writes_nor_closes_the_record(programs):
    source = """
        import os, sys
        from clip_parts import *
        torch.manual_seed(0)
        model = Clip()
        train(model, 3)
        child = os.fork()
        if child == 0:
            contrastive(model, *random_batch()).backward()
            sys.exit(6)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        train(model, 20)
    """
    programs.write("train.py", source, clip=True)
    plain, watched = programs.alone("train.py"), programs.copied("train.py", own=("--every", "1"))
    assert (watched.stdout, watched.returncode) == (plain.stdout, 0)
    with load(programs.folder / "run") as run:
        assert (run.status, run.windows, list(run.ranks)) == ("finished", 23, [0])


def test_a_copy_that_trains_gets_a_record_of_its_own(programs):
    source = """
        import os
        from clip_parts import *
        model = Clip()
        train(model, 2)
        child = os.fork()
        if child == 0:
            train(model, 20)
            raise ValueError("in the copy")
        os.waitpid(child, 0)
        train(model, 2)
    """
    programs.write("train.py", source, clip=True)
    watched = programs.copied("train.py", own=("--every", "1"))
    assert watched.returncode == 0, watched.stderr
    with load(programs.folder / "run") as run:
        own, copy = run.ranks.values()
        assert (own.status, own.windows) == ("finished", 4)
        assert (copy.status, copy.windows, copy.result["error"]) == ("failed", 19, "ValueError: in the copy"), (
            copy.result
        )


def test_findings_come_on_stderr_as_they_are_made_and_at_the_end(programs):
    programs.write("train.py", ILL, clip=True)
    watched = programs.copied("train.py", own=("--fail-on", "critical"))
    assert watched.stdout.split() == [str(step) for step in range(60)]
    assert watched.returncode == 1
    live = [line for line in watched.stderr.splitlines() if line.startswith("edgeglass-diag: CRITICAL")]
    assert any("EG801 non-finite" in line for line in live)
    assert "fix:" in watched.stderr.split(live[-1])[1]


def test_stop_on_ends_a_script(programs):
    """However late the writing thread judges: the program itself would train on."""
    programs.write("train.py", ILL.replace("range(60)", "range(10**5)"), clip=True)
    watched = programs.copied("train.py", own=("--stop-on", "EG801", "--json"))
    (run,) = json.loads(watched.stdout)["runs"]
    assert (run["status"], watched.returncode) == ("stopped", 0)
    assert "Traceback" not in watched.stderr
    assert "stopped on EG801" in watched.stderr


def test_ignored_rules_stay_silent_in_scripts(programs):
    programs.write("train.py", ILL, clip=True)
    watched = programs.copied("train.py", own=("--json", "--select", "EG801", "--ignore", "EG801"))
    assert json.loads(watched.stdout)["runs"][0]["findings"] == []


def test_ctrl_c_ends_with_130_pythons_traceback_and_a_whole_record(programs):
    programs.write("train.py", "from clip_parts import *\ntrain(Clip(), 10**9)", clip=True)
    process = subprocess.Popen(
        [programs.command, "run", "--out", "run", "train.py"],
        cwd=programs.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,
    )
    try:
        until_step(programs.folder / "run", 8, process)
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=PATIENCE)[1]
    finally:
        process.kill()
    assert process.returncode == 130
    assert "KeyboardInterrupt" in errors
    with load(programs.folder / "run") as run:
        assert (run.status, run.result["exit_status"]) == ("stopped", 130)
        assert os.path.getsize(programs.folder / "run" / "signals.sqlite") > 0


def test_wrong_use_is_said_in_one_line(programs, command):
    programs.write("train.py", "print('ran')")
    programs.write("empty/notes.txt", "")
    cases = {
        ("train.py", "--lr", "3"): "the arguments of a script go behind --",
        ("none.py",): "no such script: none.py",
        ("-m", "none.such"): "no module named 'none'",
        ("empty",): "unknown recipe 'empty': expected one of baseline",
        ("--set", "optim.lr=1", "train.py"): "--set optim.lr=1: is for recipes",
        ("baseline", "extra"): "the recipe 'baseline' takes no arguments, got 'extra'",
        ("--out", "empty", "train.py"): "empty exists and is not empty",
        ("--stop-on", "EG000", "train.py"): "no rule 'EG000'",
    }
    for words, message in cases.items():
        done = command("run", *words, cwd=programs.folder)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert not (programs.folder / "runs").exists()


def test_watch_serves_the_dashboard_beside_a_script(programs):
    source = """
        import os, socket, sys
        from clip_parts import *

        def answers():
            return any(socket.socket().connect_ex(("127.0.0.1", port)) == 0 for port in range(8960, 8970))

        train(Clip(), 2)
        before = answers()
        child = os.fork()
        if child == 0:
            sys.exit()
        os.waitpid(child, 0)
        print("answers:", before, answers())
    """
    programs.write("train.py", source, clip=True)
    watched = programs.copied("train.py", own=("--watch", "--port", "8960"))
    assert "dashboard: http://127.0.0.1:89" in watched.stderr
    assert watched.stdout.splitlines()[-1] == "answers: True True"
    assert watched.returncode == 0


def test_a_record_that_cannot_be_read_is_a_finding(tmp_path):
    gone = SimpleNamespace(options=SimpleNamespace(out=str(tmp_path / "gone")), attachment=None)
    outcome = _outcome(gone, None)
    assert outcome.run is None
    ((code, severity, message),) = [(f.code, f.severity, f.message) for f in outcome.findings]
    assert (code, severity) == ("EG901", "critical")
    assert message == f"Record lost, nothing of it can be read: {outcome.problem}"
