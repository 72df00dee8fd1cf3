"""The verb diagnose: one bounded answer about a run, or about a program that it trains first."""

import json
from textwrap import dedent

import pytest

import edgeglass_diag as eg
from edgeglass_diag.bounded import COLUMNS, LINES, bounded, bounded_text, wire_size
from edgeglass_diag.records import Window
from edgeglass_diag.sites import Coverage, ModuleSite
from edgeglass_diag.store import RunWriter
from tests.helpers.dashboard_runs import start, window, write_collapsed, write_healthy
from tests.helpers.explanations import BY, VERDICT, write_explained
from tests.helpers.large_runs import write_large

TRAIN = """
    import argparse

    import torch
    from torch import nn
    from torch.nn import functional as F

    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.5)
    parser.add_argument("--break", dest="broken", action="store_true")
    asked = parser.parse_args()
    print("trains", flush=True)
    torch.manual_seed(0)
    centres = torch.randn(8, 12)
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 8))
    optimizer = torch.optim.SGD(model.parameters(), asked.lr)
    for step in range(400):
        labels = torch.randint(0, 8, (64,))
        loss = F.cross_entropy(model(centres[labels] + 0.1 * torch.randn(64, 12)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if asked.broken and step == 5:
            raise RuntimeError("the disk is full")
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.py").write_text(dedent(TRAIN))
    return tmp_path


def section(text, title):
    """The lines below a title, up to the next empty one."""
    _, _, rest = text.partition(f"\n{title}\n")
    return [line.strip() for line in rest.partition("\n\n")[0].splitlines()]


def test_what_is_proved_stands_apart_from_what_is_guessed(tmp_path, command):
    run, _ = write_explained(tmp_path)
    done = command("diagnose", run)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Does not learn: ")
    assert "\nheadline: WARNING EG203 update-ratio-high at step 10\n" in done.stdout
    verdict, confirmed, refuted = section(done.stdout, "proved by replays:")
    assert verdict == VERDICT
    assert confirmed.startswith("EG203 ")
    assert confirmed.endswith(f"confirmed by replays: {BY}")
    assert refuted.startswith("EG301 ")
    assert "refuted by replays" in refuted
    # EG401 was said to follow from EG301, which is refuted.
    assert [line.split()[1] for line in section(done.stdout, "guessed from what was measured, not proved:")] == [
        "EG401", "EG205",
    ]  # fmt: skip
    assert "the image embeddings are the same" not in done.stdout.splitlines()[0]


def test_the_function_says_what_the_command_prints(tmp_path, command):
    write_collapsed(tmp_path / "run")
    found = eg.diagnose(tmp_path / "run")
    assert found.headline.code == "EG301"
    assert found.proved == ()
    assert [each.code for each in found.guessed] == ["EG301", "EG203", "EG205"]
    assert command("diagnose", tmp_path / "run").stdout == f"{found}\n"
    assert json.loads(command("diagnose", tmp_path / "run", "--json").stdout) == found.as_dict()


@pytest.mark.parametrize(("level", "status"), [("critical", 1), ("warning", 1)])
def test_the_exit_status_is_that_of_findings(tmp_path, command, level, status):
    write_collapsed(tmp_path / "ill")
    write_healthy(tmp_path / "well", steps=100)
    assert command("diagnose", tmp_path / "ill", "--fail-on", level).returncode == status
    assert command("diagnose", tmp_path / "well", "--fail-on", level).returncode == 0


def test_a_healthy_run_asks_for_nothing(tmp_path):
    write_healthy(tmp_path / "run")
    found = eg.diagnose(tmp_path / "run")
    assert (found.headline, found.proved, found.guessed) == (None, (), ())
    assert found.verdict.tone == "good"
    assert found.next.command == f"edgeglass-diag report {tmp_path / 'run'}"


def test_a_training_that_goes_on_is_asked_about_again(tmp_path):
    write_healthy(tmp_path / "run", steps=20, status=None)
    assert eg.diagnose(tmp_path / "run").next.command == f"edgeglass-diag diagnose {tmp_path / 'run'}"


def test_what_nobody_looked_at_is_told(tmp_path):
    writer = start(tmp_path / "run")
    compiled = [ModuleSite(path=f"layers.{i}", coverage=Coverage.COMPILED) for i in range(3)]
    seen = ModuleSite(path="head", coverage=Coverage.FROZEN)
    writer.write(Window(0, window(0).readings, (*compiled, seen)))
    writer.write(window(9))
    writer.finish("finished", {})
    told = section(str(eg.diagnose(tmp_path / "run")), "not looked at:")
    assert told[0].startswith("3 modules (layers.0, ...): inside a region compiled by torch.compile or torch.jit")
    assert told[1] == "steps: said of what was found in the 2 of 10 steps that were recorded"
    assert told[2].startswith("rules that did not judge this run: ")


def test_an_answer_is_bounded_whatever_a_run_holds(tmp_path):
    write_large(tmp_path / "run", windows=200, sites=4, heads=2)
    found = eg.diagnose(tmp_path / "run")
    lines = str(found).splitlines()
    assert len(found.findings) == 200
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= COLUMNS
    assert any(line.endswith(f"more: edgeglass-diag findings {tmp_path / 'run'}") for line in lines)
    assert lines[-1].startswith("  edgeglass-diag ")
    assert wire_size(json.dumps(found.as_dict(), ensure_ascii=False)) < 20_000


@pytest.mark.parametrize(
    "value",
    [
        [["\x01" * 5000] * 300] * 300,
        {"é" * 300 + str(i): {"\\" * 300 + str(j): ['"' * 900] * 40 for j in range(40)} for i in range(40)},
        [[[[[[[[[["deep"] * 9] * 9] * 9] * 9] * 9]]]]],
    ],
)
def test_bounded_holds_for_any_value(value):
    assert wire_size(json.dumps(bounded(value, 3000), ensure_ascii=False)) <= 3000


@pytest.mark.parametrize("text", ["\x01" * 9000, 'é"' * 9000, "plain " * 9000])
def test_bounded_text_holds_for_any_text(text):
    assert wire_size(bounded_text(text, 3000)) <= 3000
    assert bounded_text(text, 3000).endswith("characters more")


def test_bounded_leaves_what_fits():
    value = {"a": list(range(1000)), "b": "x" * 5000}
    assert bounded(value) == value


def test_a_program_is_trained_first_and_its_output_kept_apart(folder, command):
    done = command("diagnose", "train.py", "--steps", 30, "--out", "ill", "--", "--lr", "60", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) <= LINES
    assert "trains" not in done.stdout
    assert "trains" in (folder / "ill.log").read_text()
    assert f"\nrun: {folder / 'ill'} (stopped, 30 steps" in done.stdout
    assert "ended by" not in done.stdout
    assert "\nheadline: " in done.stdout
    assert done.stdout.endswith("\n  edgeglass-diag diagnose --steps 1000 train.py -- --lr 60\n")


@pytest.mark.long
def test_a_program_that_learns_and_one_that_breaks(folder, command):
    done = command("diagnose", "train.py", "--out", "well", cwd=folder)
    assert done.stdout.startswith("Learning: ")
    done = command("diagnose", "train.py", "--out", "broken", "--", "--break", cwd=folder)
    assert done.returncode == 0
    assert "\nended by: RuntimeError: the disk is full\n" in done.stdout
    assert done.stdout.endswith("\n  edgeglass-diag diagnose train.py -- --break\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--steps", "3"], "--steps: a run is read as it is"),
        (["."], "diagnose: expected one run, and . holds 1 runs, the newest is run"),
        (["pkg.model:build"], "diagnose: expected a run folder, a program, a recipe or a YAML file, got the function"),
        ([], "diagnose: expected a run folder or a program, as runs/train-... or train.py -- --lr 2e-3"),
        (["gone.py"], "no such script: gone.py"),
    ],
)
def test_wrong_use_is_one_line(tmp_path, command, words, said):
    RunWriter(tmp_path / "run", name="run", header={}).finish("finished", {})
    done = command("diagnose", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"edgeglass-diag: {said}")
