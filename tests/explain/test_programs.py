"""Explanations of a real program, by the command: its arguments, two runs of it, interventions from outside."""

import json
from textwrap import dedent

import pytest

import edgeglass_diag as eg

TRAIN = """
    import argparse

    import torch
    from torch import nn
    from torch.nn import functional as F

    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.5)
    parser.add_argument("--width", type=int, default=16)
    asked = parser.parse_args()
    torch.manual_seed(0)
    centres = torch.randn(8, 12)
    model = nn.Sequential(nn.Linear(12, asked.width), nn.ReLU(), nn.Linear(asked.width, 8))
    optimizer = torch.optim.SGD(model.parameters(), asked.lr)
    for _ in range(400):
        labels = torch.randint(0, 8, (64,))
        loss = F.cross_entropy(model(centres[labels] + 0.1 * torch.randn(64, 12)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save(model.state_dict(), "last.pt")
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.py").write_text(dedent(TRAIN))
    (tmp_path / "last.pt").write_text("the old one")
    return tmp_path


def explained(command, folder, *words):
    done = command("explain", "--json", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (folder / "last.pt").read_text() == "the old one"
    return result, done


def test_the_suspected_argument_is_convicted(folder, command):
    words = ("--suspect", "--lr=0.5", "--seeds", 1, "--steps", 24, "--out", "why", "--", "--lr", "60")
    result, _ = explained(command, folder, "train.py", *words)
    (cause,) = result["causes"]
    assert (cause["kind"], cause["setting"], cause["ill"], cause["healthy"]) == ("argument", "--lr", "60", "0.5")
    assert (cause["cured"], cause["made_ill"]) == ("1/1", "1/1")
    assert [(trial["ending"], trial["steps"]) for trial in result["trials"]] == [("stopped", 24)] * 2
    assert json.loads((folder / "why/explain.json").read_text()) == result


@pytest.mark.long
def test_an_innocent_argument_is_not_convicted(folder, command):
    result, _ = explained(
        command, folder, "train.py", "--suspect", "--lr=0.5", "--suspect", "--width=24", "--seeds", 1, "--steps", 24,
        "--out", "why", "--", "--lr", "60",
    )  # fmt: skip
    assert [cause["setting"] for cause in result["causes"]] == ["--lr"]
    assert [row["setting"] for row in result["not_causes"]] == ["--width"]


def test_a_program_that_writes_over_a_file_by_its_whole_path_is_stopped(folder, command):
    text = (
        (folder / "train.py").read_text().replace('"last.pt"', f'"{folder}/last.pt"').replace("range(400)", "range(9)")
    )
    (folder / "train.py").write_text(text)
    done = command("explain", "train.py", "--seeds", 1, "--steps", 24, "--out", "why", cwd=folder)
    assert done.returncode == 2
    (line,) = [each for each in done.stderr.splitlines() if each.startswith("edgeglass-diag: ")]
    assert f"{folder}/last.pt: a replay writes in its scratch folder alone" in line
    assert f"--allow-write '{folder}/last.pt' lets it" in line
    assert (folder / "last.pt").read_text() == "the old one"


def test_interventions_in_a_function_are_refused():
    with pytest.raises(eg.UsageError, match="interventions= are for programs"):
        eg.explain(lambda settings: None, failing={}, healthy={}, interventions=["optimizer.lr=0.1"])


def test_an_unknown_intervention_is_refused_in_python(folder):
    with pytest.raises(eg.UsageError, match=r"interventions=.optimizer\.speed.: "):
        eg.explain(folder / "train.py", interventions=["optimizer.speed"])


def test_wrong_use_is_one_line(folder, command):
    def refusal(*words):
        done = command("explain", *words, cwd=folder)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        return done.stderr

    assert "no such script: other.py" in refusal("other.py")
    assert "expected a run folder or a program" in refusal()
    assert "no such run" in refusal("runs/nothing")
    assert "is for recipes; for train.py use --suspect" in refusal("train.py", "--set", "a=1")
    assert "expected one of --against, --suspect, --against-rev and --try" in refusal(
        "train.py", "--suspect", "--lr=1", "--against-rev", "HEAD"
    )
    assert "expected an option with its healthy value" in refusal("train.py", "--suspect", "lr")
    assert "--try: unknown intervention 'lr'" in refusal("train.py", "--try", "lr=1")
    assert "--try: optimizer.lr: expected a finite number" in refusal("train.py", "--try", "optimizer.lr")
    assert "--try: expected a number, got 'x'" in refusal("train.py", "--try", "optimizer.lr=x")
    assert "not a git repository" in refusal("train.py", "--against-rev", "HEAD")


@pytest.mark.long
def test_two_runs_are_told_apart(folder, command):
    for name, lr in (("ill", 60), ("healthy", 0.5)):
        width = {"ill": 16, "healthy": 24}[name]
        words = ("run", "train.py", "--out", name, "--", "--lr", lr, "--width", width)
        done = command(*words, cwd=folder, env={"SHARDS": name, "MY_TOKEN": "secret"})
        assert done.returncode == 0, done.stderr
        assert "secret" not in (folder / name / "run.json").read_text()
    (folder / "last.pt").write_text("the old one")
    result, _ = explained(command, folder, "ill", "--against", "healthy", "--seeds", 2, "--steps", 24)
    assert [row["setting"] for row in result["causes"]] == ["--lr"]
    assert {row["setting"] for row in result["not_causes"]} == {"--width", "$SHARDS"}


@pytest.mark.long
def test_the_rate_is_the_cause_by_interventions_and_marks_the_findings(folder, command):
    done = command("run", "train.py", "--out", "ill", "--every", 1, "--", "--lr", "60", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "last.pt").write_text("the old one")
    result, _ = explained(command, folder, "ill", "--steps", 60)
    assert result["causes"], result["verdict"]
    assert "learning rate" in result["causes"][0]["setting"]
    assert result["causes"][0]["where"].endswith("train.py:15")
    assert result["noise"] == 0.0
    assert "confirmed" in {row["mark"] for row in result["findings"]}
    found = json.loads(command("findings", "ill", "--json", cwd=folder).stdout)
    assert "confirmed" in {row["mark"] for row in found}


LEAVES = """
    import os, sys
    if os.path.exists("results"):
        sys.exit("results exist: choose another name")
    os.makedirs("results")
    if not os.path.exists("data.txt"):
        if {downloads} and os.environ.get("HF_HUB_OFFLINE"):
            sys.exit("cannot download")
        open("data.txt", "w").write("some")
"""


@pytest.mark.parametrize(
    ("downloads", "left"),
    [(False, ["data.txt", "results"]), pytest.param(True, [], marks=pytest.mark.long)],
    ids=["results", "downloaded"],
)
def test_a_replay_begins_without_what_the_run_has_left(downloads, left, folder, command):
    text = (folder / "train.py").read_text().replace("range(400)", "range(30)")
    if downloads:
        text = text.replace("torch.save", "import shutil; shutil.rmtree('results'); torch.save")
    text = dedent(LEAVES).format(downloads=downloads) + text.replace('"last.pt"', '"results.pt"')
    (folder / "train.py").write_text(text)
    assert command("run", "--out", "runs/ill", "train.py", "--", "--lr", "60", cwd=folder).returncode == 0
    (folder / "results.pt").unlink()
    words = ("--try", "optimizer.lr=0.01", "--seeds", 1, "--steps", 24, "--out", "why")
    result, _ = explained(command, folder, "runs/ill", *words)
    assert result["left_out"] == left
    assert {trial["ending"] for trial in result["trials"]} == {"stopped"}
    assert [cause["cured"] for cause in result["causes"]] == ["1/1"]
