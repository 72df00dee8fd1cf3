"""The server for agents, through the SDK's own client: its tools, their errors, their size, and its end."""

import json
from pathlib import Path
from textwrap import dedent

import numpy as np
import psutil
import pytest

from edgeglass_diag.replaying.nominations import nominate
from edgeglass_diag.store import RunWriter
from tests.cli.test_diagnose import TRAIN
from tests.helpers.agent import agent
from tests.helpers.dashboard_runs import CONSTANT, UPDATES, window, write_healthy
from tests.helpers.explanations import BY, VERDICT, write_explained
from tests.helpers.large_runs import write_large
from tests.helpers.waiting import until

READ = [
    "diagnose",
    "runs",
    "findings",
    "finding",
    "signals",
    "compare",
    "audit",
    "rules",
    "check",
    "evaluate",
    "explain_state",
    "explain_result",
]
RUN = ["explain_start", "explain_stop"]

BUILD = """
    import torch
    from torch import nn

    print("built")  # must not reach the protocol

    def build():
        torch.manual_seed(0)
        model = nn.Linear(4, 2)
        with torch.no_grad():
            model.weight.fill_(0.5)
        return model, torch.randn(8, 4)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an explained run, a healthy one, one of a program that trains for ever, and one of a function."""
    root = tmp_path_factory.mktemp("agent")
    write_explained(root / "runs")
    write_healthy(root / "runs/well", steps=100)
    (root / "train.py").write_text("import threading\nthreading.Event().wait()\n")
    (root / "model.py").write_text(dedent(BUILD))
    program = {"kind": "script", "target": "train.py", "arguments": []}
    writer = RunWriter(root / "stuck", name="stuck", header={"program": program, "folder": str(root)})
    writer.write(window(0), [UPDATES])
    writer.finish("finished", {})
    sides = np.random.default_rng(0).normal(size=(2, 16, 8)).astype(np.float32)
    np.savez(root / "embeddings.npz", image=sides[0], text=sides[0])
    return root


@pytest.fixture(scope="module")
def asked(place):
    with agent(place) as client:
        yield client


def test_the_tools_are_listed_and_say_which_of_them_only_read(asked):
    tools = asked.tools()
    assert set(tools) == {*READ, *RUN}
    assert [name for name in tools if tools[name].annotations.read_only_hint] == READ
    assert all(tool.description for tool in tools.values())


def test_each_reading_tool_answers(asked):
    assert asked.text("diagnose", run="runs/perceiver").startswith("Does not learn: ")
    listed = asked.ask("runs")
    assert {row["run"] for row in listed["runs"]} >= {"runs/perceiver", "runs/well"}
    found = asked.ask("findings", run="runs/perceiver", severity="warning")
    assert found["count"] == 5
    assert [row["mark"] for row in found["findings"] if "mark" in row] == ["refuted", "confirmed", "not asked"]
    (one,) = asked.ask("findings", run="runs/perceiver", code="EG20", first=1)["findings"]
    assert one["code"] == "EG205"
    whole = asked.ask("finding", run="runs/perceiver", code="EG301")
    assert whole["evidence"] == dict(CONSTANT.evidence)
    assert whole["rule"].startswith("EG301 ")
    assert "loss/total" in asked.ask("signals", run="runs/well")["signals"]
    table = asked.ask("signals", run="runs/well", signal="loss/total", columns=4)
    assert table["first_step_of_column"] == [0, 30, 50, 80]
    assert len(table["table"][""]) == 4
    compared = asked.ask("compare", runs=["runs/perceiver", "runs/well"])
    assert compared["runs"][0]["findings"]["EG301"] == 1
    assert asked.ask("rules", code="eg30")["count"] > 1
    assert asked.text("rules", code="EG301").startswith("EG301 ")
    assert asked.ask("rules")["count"] > 100
    assert asked.ask("explain_result", explanation="runs/perceiver")["verdict"] == VERDICT
    assert asked.ask("explain_result", explanation="runs/why")["causes"][0]["cured"] == "3/3"


def test_logs_are_audited(asked, place):
    rows = [f"{step},4.85203,0.0003351206,0.001675603,0.003351206" for step in (1, 2)]
    (place / "log.csv").write_text("\n".join(["step,val_loss,i2t_r1,i2t_r5,i2t_r10", *rows]))
    audited = asked.ask("audit", files=["log.csv"])
    assert (audited["inferred"]["batch_size"], audited["inferred"]["n"]) == (128, 2984)


def test_code_of_the_user_runs_in_a_process_of_its_own(asked):
    checked = asked.ask("check", target="model:build")
    assert checked["parameters"][0]["name"] == "weight"


@pytest.mark.long
def test_embeddings_are_evaluated_and_changed_code_is_checked_anew(asked, place):
    assert asked.ask("evaluate", path="embeddings.npz")["i2t"]["R@1"] == 1
    assert "gone:build: no module named 'gone'" in asked.refused("check", target="gone:build")
    before = asked.ask("check", target="model:build")["parameters"][0]["std"]
    file = place / "model.py"
    file.write_text(file.read_text().replace("fill_(0.5)", "normal_(std=3.0)"))
    assert asked.ask("check", target="model:build")["parameters"][0]["std"] > before


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("diagnose", {"run": "gone"}, "no such run: gone does not exist"),
        ("diagnose", {"run": "train.py"}, "train.py is a program, and nothing is trained here: run 'edgeglass-diag"),
        ("diagnose", {}, "run: Field required"),
        ("findings", {"run": "runs/well", "severity": "bad"}, "severity: expected info, warning, critical, got 'bad'"),
        ("finding", {"run": "runs/well", "code": "EG301"}, "runs/well has no finding EG301"),
        ("finding", {"run": "runs/perceiver", "code": "EG301", "site": "x"}, "has no finding EG301 at x"),
        ("signals", {"run": "runs/well", "signal": "nonsense"}, "nonsense"),
        ("signals", {"run": "runs/well", "signal": "loss/total", "columns": 99}, "columns: Input should be less than"),
        ("signals", {"run": "runs/well", "signal": "loss/total", "component": "all"}, "component"),
        ("compare", {"runs": ["runs/well"]}, "runs: List should have at least 2 items"),
        ("check", {"target": "train.py"}, "train.py is a program, which only the command runs"),
        ("rules", {"code": "XX"}, "no rule 'XX'"),
        ("explain_start", {"run": "runs/well"}, "a run of eg.watch is not known by its command"),
        ("explain_state", {"explanation": "why"}, "expected an explanation that this server has begun"),
        ("explain_result", {"explanation": "runs/well"}, "no explanation: runs/well has no explain.json"),
        ("nonsense", {}, "Unknown tool"),
    ],
)  # fmt: skip
def test_an_error_is_one_sentence(asked, tool, arguments, said):
    text = asked.refused(tool, **arguments)
    assert text.startswith(f"{tool}: ")
    assert said in text


def below(process):
    """The processes that a process has started, and those that they have."""
    return {each.pid for each in process.children(recursive=True)}


def until_gone(pids):
    until(lambda: not pids & set(psutil.pids()), "the processes have ended")


def test_an_explanation_is_announced_begun_stopped_and_ends_with_its_client(place):
    before = below(psutil.Process())
    with agent(place) as asked:
        server = next(each for each in psutil.Process().children() if each.pid not in before)
        would = asked.ask("explain_start", run="stuck", seeds=2, steps=8, out="why")
        plan = would["would_run"]
        assert not would["begun"]
        assert not (place / "why").exists()
        assert (plan["program"], plan["folder"]) == ("python train.py", str(place))
        assert (plan["steps_of_a_replay"], plan["seeds"], plan["written_to"]) == (8, 2, "why")
        changes = len(nominate([UPDATES]))
        assert plan["replays"].startswith(f"at most {2 * (1 + changes) + 1}: one placebo, and {1 + changes} variants")
        assert not below(server)
        for out in ("why", "again"):
            begun = asked.ask("explain_start", run="stuck", seeds=2, steps=8, out=out, confirm=True)
            assert begun["runs"]["written_to"] == begun["explanation"] == out
            until(lambda: any((place / out).glob("*.replay/output.log")), "a replay has begun")  # noqa: B023
            assert asked.ask("explain_state", explanation=out)["state"] == "running"
            assert "it is still running" in asked.refused("explain_result", explanation=out)
            if out == "why":
                started = below(server)
                assert asked.ask("explain_stop", explanation=out)["state"] == "stopped"
                until_gone(started)
        started = {server.pid, *below(server)}
        assert len(started) > 2
    until_gone(started)


@pytest.mark.parametrize(
    ("windows", "sites", "heads"),
    [(60, 40, 8), pytest.param(1000, 100, 100, marks=pytest.mark.long)],
    ids=["20 thousand", "10 million"],
)
def test_every_answer_is_bounded_whatever_a_run_holds(tmp_path, asked, windows, sites, heads):
    large, other = str(tmp_path / "large"), str(tmp_path / "other")
    count = write_large(tmp_path / "large", windows=windows, sites=sites, heads=heads)
    assert count == windows * sites * (heads + 1)
    write_large(tmp_path / "other", windows=2, sites=40, heads=1)
    # The agent asserts the size of each answer.
    assert len(asked.text("diagnose", run=large).splitlines()) <= 60
    assert asked.ask("runs", folder=str(tmp_path))["count"] == 2
    assert len(asked.ask("findings", run=large)["findings"]) < windows
    assert asked.ask("finding", run=large, code="EG200")["code"] == "EG200"
    assert "attention/entropy" in asked.ask("signals", run=large)["signals"]
    table = asked.ask("signals", run=large, signal="attention/entropy", columns=24, component="max")
    assert table["sites"] == sites
    one = asked.ask("signals", run=large, signal="gradient/norm", site="*.3.cross*", columns=2)
    assert list(one["table"].values()) == [[f"0..{windows // 2 - 1}", f"{windows // 2}..{windows - 1}"]]
    assert len(asked.ask("compare", runs=[large, other])["runs"]) == 2
    assert "expected a loss, recall or learning rate" in asked.refused("audit", files=[large])


def test_a_client_is_configured_by_the_command(command):
    entry = json.loads(command("mcp", "--json").stdout)["edgeglass-diag"]
    assert Path(entry["command"]).name == "edgeglass-diag"
    assert entry["args"] == ["mcp"]


@pytest.mark.long
def test_from_a_stuck_loss_to_a_proved_cause(tmp_path, command):
    (tmp_path / "train.py").write_text(dedent(TRAIN))
    words = ("--out", "runs/stuck", "--", "--lr", "60")
    assert command("diagnose", "train.py", *words, cwd=tmp_path).returncode == 0
    with agent(tmp_path) as asked:
        (run,) = (row["run"] for row in asked.ask("runs")["runs"])
        said = asked.text("diagnose", run=run)
        assert "proved by replays" not in said
        assert said.splitlines()[-1].strip() == f"edgeglass-diag explain {run}"
        (code,) = (row["code"] for row in asked.ask("findings", run=run, severity="critical")["findings"][:1])
        assert asked.ask("finding", run=run, code=code)["fix"]
        assert "--lr 60" in asked.ask("explain_start", run=run)["would_run"]["program"]
        tries = ["optimizer.lr=0.01"]
        begun = asked.ask("explain_start", run=run, tries=tries, seeds=1, steps=40, confirm=True)
        state = asked.ask("explain_state", explanation=begun["explanation"], wait=500)
        assert state["state"] == "finished", state
        result = asked.ask("explain_result", explanation=begun["explanation"])
        assert [cause["cured"] for cause in result["causes"]] == ["1/1"]
        said = asked.text("diagnose", run=run)
        assert "proved by replays:\n" in said
        assert "learning rate" in said
        assert BY not in said
        mapped = {"run": run, "axes": ["--lr=0.01,60"], "seeds": 1, "steps": 12}
        assert asked.ask("explain_start", **mapped)["would_run"]["replays"].startswith("2: 2 combinations")
        begun = asked.ask("explain_start", **mapped, confirm=True)
        state = asked.ask("explain_state", explanation=begun["explanation"], wait=500)
        assert state["state"] == "finished", state
        found = asked.ask("explain_result", explanation=begun["explanation"])["map"]
        assert found["axes"] == {"--lr": ["0.01", "60"]}
        assert [cell.partition(":")[0] for cell in found["cells"]] == ["--lr=0.01", "--lr=60"]
