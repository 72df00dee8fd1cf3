"""SARIF, baseline and exit status of the verbs that have findings."""

from __future__ import annotations

import json
import os
from textwrap import dedent

import numpy as np
import pytest

from tests.helpers.audit_logs import PUBLISHED
from tests.helpers.sarif_schema import results_of
from tests.helpers.webhook import webhook

SCRIPT = """\
import os
import sys
import torch
from torch import nn
import torch.nn.functional as F


class Net(nn.Sequential):
    def forward(self, x):
        return self[2](self[1](self[0](x))) * getattr(self, "scale", 1)


model = Net(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
with torch.no_grad():
    nn.init.normal_(model[0].weight, std=1.0)
    nn.init.normal_(model[0].weight, std=0.01)
optimizer = torch.optim.SGD(model[0].parameters(), 0.1)
for step in range(3):
    F.cross_entropy(model(torch.randn(8, 6)), torch.arange(8) % 4).backward()
    optimizer.step()
    optimizer.zero_grad()
os.chdir("/")
sys.exit(int(*sys.argv[1:] or ["0"]))
"""
MENDED = SCRIPT.replace("model[0].parameters()", "model.parameters()")
HEALTHY = MENDED.replace("    nn.init.normal_(model[0].weight, std=1.0)\n", "")
SCALED = "nn.Linear(8, 4))\nmodel.scale = nn.Parameter(torch.ones(1))"
WORSE = "# one line more\n" + SCRIPT.replace("nn.Linear(8, 4))", SCALED)
RULES = ("--select", "EG00")


@pytest.fixture
def project(tmp_path, command):
    """A repository with the script below ``src``, and a function that runs a verb there."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "src").mkdir()

    def run(*words, script=SCRIPT, where="."):
        (tmp_path / "src" / "train.py").write_text(dedent(script))
        return command(*words, cwd=tmp_path / where)

    return tmp_path, run


def written(folder, name="x.sarif"):
    return results_of(json.loads((folder / name).read_text()))


def test_only_what_is_new_fails_a_check(project):
    folder, run = project
    line = ("check", "src/train.py", "--sarif", "x.sarif", "--baseline", "known.json", *RULES)
    done = run(*line)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "edgeglass-diag: --baseline: no such file: known.json; --update-baseline writes it\n"

    assert run(*line, "--update-baseline").returncode == 0
    kept = (folder / "known.json").read_text()
    assert [entry["code"] for entry in json.loads(kept)["findings"]] == ["EG001", "EG003"]
    assert json.loads(kept)["command"].startswith("edgeglass-diag check src/train.py --sarif x.sarif")
    again = run(*line)
    assert (again.returncode, again.stderr.splitlines()[-1]) == (
        0,
        f"edgeglass-diag: 0 new, 0 worse, 2 known by {folder / 'known.json'}",
    )
    found = {each["ruleId"]: each for each in written(folder)}
    assert {code: each["baselineState"] for code, each in found.items()} == {"EG001": "unchanged", "EG003": "unchanged"}
    place = found["EG001"]["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("src/train.py", 16)
    assert found["EG003"]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "src/train.py"

    failing = run(*line, "--json", script=WORSE)
    assert failing.returncode == 1
    assert "edgeglass-diag: new: WARNING EG003 missing-from-optimizer at scale" in failing.stderr
    assert "findings" in json.loads(failing.stdout)
    states = {(each["ruleId"], each["properties"]["site"]): each["baselineState"] for each in written(folder)}
    assert sorted(states.values()) == ["new", "unchanged"]
    assert states["EG003", "scale"] == "new"
    assert run(*line, "--fail-on", "critical", script=WORSE).returncode == 0

    mended = run(*line, script=MENDED)
    assert mended.returncode == 0
    assert "1 of the baseline no longer occur (EG003); --update-baseline takes them out" in mended.stderr
    assert (folder / "known.json").read_text() == kept


def test_without_a_baseline_nothing_fails_unless_it_is_asked_for(project):
    folder, run = project
    line = ("check", "train.py", "--sarif", "../x.sarif", *RULES)
    assert run(*line, where="src").returncode == 0
    before = [each["partialFingerprints"] for each in written(folder)]
    assert all("baselineState" not in each for each in written(folder))
    assert run(*line, "--fail-on", "warning", where="src").returncode == 1
    assert [each["partialFingerprints"] for each in written(folder)] == before
    place = written(folder)[0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "src/train.py"  # below the repository, whatever the working directory

    assert run(*line, "--fail-on", "warning", script=HEALTHY, where="src").returncode == 0
    assert written(folder) == []


def test_a_run_and_its_record_have_the_same_findings(project):
    folder, run = project
    gate = ("--baseline", "known.json", "--sarif", "x.sarif")
    done = run("run", "--out", "run", *gate, "--update-baseline", *RULES, "src/train.py")
    assert done.returncode == 0, done.stderr
    assert [each["ruleId"] for each in written(folder)]
    assert {each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for each in written(folder)} == {
        "src/train.py"
    }
    of_run = [each["partialFingerprints"] for each in written(folder)]
    read = run("findings", "run", *gate)
    assert (read.returncode, read.stderr.count("0 new")) == (0, 1)
    assert [each["partialFingerprints"] for each in written(folder)] == of_run
    (folder / "known.json").write_text((folder / "known.json").read_text().replace("EG003", "EG004"))
    for verb in (("findings", "run"), ("run", "--out", "other", *RULES, "src/train.py")):
        assert run(*verb, *gate).returncode == 0  # a fingerprint, not a code, is what is known
    entries = json.loads((folder / "known.json").read_text())
    entries["findings"] = [entry for entry in entries["findings"] if entry["severity"] == "info"]
    (folder / "known.json").write_text(json.dumps(entries))
    assert run("findings", "run", *gate).returncode == 1
    assert run("run", "--out", "third", *gate, *RULES, "src/train.py").returncode == 1


def test_a_program_that_fails_keeps_its_status_and_writes_no_baseline(project):
    folder, run = project
    line = ("run", "--out", "run", "--sarif", "x.sarif", *RULES, "--baseline", "known.json")
    done = run(*line, "--update-baseline", "src/train.py", "--", "3")
    assert done.returncode == 3
    assert f"{folder / 'known.json'} is not written: run did not come to its own end (failed)" in done.stderr
    assert not (folder / "known.json").exists()
    assert written(folder)
    read = run("findings", "run", "--baseline", "known.json", "--update-baseline")
    assert (read.returncode, (folder / "known.json").exists()) == (0, False)


def test_a_baseline_tells_nothing_of_the_webhook(project):
    folder, run = project
    with webhook() as hook:
        line = ("run", "--out", "run", "--baseline", "known.json", "--update-baseline", *RULES)
        done = run(*line, "--notify", hook.address, "src/train.py")
        assert done.returncode == 0, done.stderr
        told = hook.told
    kept = json.loads((folder / "known.json").read_text())
    assert sorted(told) == sorted((entry["code"], entry["site"]) for entry in kept["findings"])
    assert f"--notify {hook.server}/... src/train.py" in kept["command"]
    files = [folder / "known.json", *(file for file in (folder / "run").rglob("*") if file.is_file())]
    assert not [file for file in files if hook.SECRET.encode() in file.read_bytes()]
    assert hook.SECRET not in done.stdout + done.stderr


def test_histories_of_an_audit_are_told_apart(project):
    folder, run = project
    (folder / "log.json").write_text(json.dumps(PUBLISHED))
    line = ("audit", "log.json", "--sarif", "x.sarif", "--baseline", "known.json")
    assert run(*line, "--update-baseline").returncode == 0
    assert len({each["partialFingerprints"]["edgeglassFinding/v1"] for each in written(folder)}) == len(written(folder))
    assert written(folder)[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "log.json"
    assert run(*line).returncode == 0
    (folder / "log.json").write_text(json.dumps({"other": PUBLISHED["perceiver"], "baseline": PUBLISHED["baseline"]}))
    assert run(*line).returncode == 1


def test_an_evaluation_in_which_all_images_are_one_fails(project):
    folder, run = project
    images = np.random.default_rng(0).normal(size=(60, 8)).astype("float32")
    line = ("eval", "pairs.npz", "--no-curve", "--sarif", "x.sarif", "--baseline", "known.json")
    np.savez(folder / "pairs.npz", image=images, text=images + 0.1)
    assert run(*line, "--update-baseline").returncode == 0
    assert written(folder) == []
    np.savez(folder / "pairs.npz", image=np.ones_like(images), text=images)
    done = run(*line, "--json")
    assert done.returncode == 1
    assert {finding["code"] for finding in json.loads(done.stdout)["findings"]} == {"EG601"}
    assert {(each["ruleId"], each["level"]) for each in written(folder)} == {("EG601", "error")}
    assert run(*line, "--update-baseline").returncode == 0
    assert run(*line).returncode == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--update-baseline",), "--update-baseline: expected --baseline FILE too, got none"),
        (("--fail-on", "sad"), "--fail-on: expected warning or critical, got 'sad'"),
        (("--baseline", "x" * 300), "--baseline: no such file: "),
        (("--baseline", "."), "--baseline"),
    ],
)
@pytest.mark.parametrize("verb", ["check", "run", "audit", "findings", "eval"])
def test_wrong_options_are_said_before_anything_is_done(project, verb, options, said):
    folder, run = project
    done = run(verb, "src/train.py", *options)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert said in done.stderr
    assert sorted(os.listdir(folder)) == [".git", "src"]


@pytest.mark.parametrize("option", [("--sarif", "src/train.py/x.sarif"), ("--baseline", "src", "--update-baseline")])
def test_a_file_that_cannot_be_written_is_told_before_the_training(option, project):
    folder, run = project
    done = run("run", "--out", "run", *option, "src/train.py")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert option[1] in done.stderr
    assert not (folder / "run").exists()
    assert (folder / "src" / "train.py").read_text() == SCRIPT
