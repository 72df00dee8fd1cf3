"""A record that was cut off says so wherever it is shown, and never reads like one without faults."""

from __future__ import annotations

import json

import pytest

from edgeglass_diag import backlog
from edgeglass_diag.store import RunWriter, load
from tests.helpers.command_server import command_line

SAID = "Recording stopped, the training goes on unwatched"
PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 8))
optimizer = torch.optim.Adam(model.parameters(), 0.01)
x = torch.randn(4, 8)
for step in range(30):
    loss = F.cross_entropy(model(x), torch.arange(4))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def run_cut_off(*words):
    """Run the command line where nothing can be written from step 8 on, and each window is written by itself."""
    backlog.COMMIT = -1.0  # in a copy of this process
    write = RunWriter.write

    def until_step_7(writer, window, findings=(), *, earlier=()):
        if window.step > 7:
            raise OSError(28, "No space left on device")
        write(writer, window, findings, earlier=earlier)

    RunWriter.write = until_step_7
    command_line(*words)


@pytest.fixture(scope="module")
def cut_off(command_server, tmp_path_factory):
    """A run of 30 steps, of which nothing could be written from step 8 on."""
    folder = tmp_path_factory.mktemp("runs")
    program = folder / "train.py"
    program.write_text(PROGRAM)
    words = ["run", "--every", "1", "--fail-on", "critical", "--out", str(folder / "run"), str(program)]
    return folder / "run", command_server.call(run_cut_off, *words)


def test_the_terminal_says_it_at_once_and_the_status_is_that_of_fail_on(cut_off):
    _, run = cut_off
    assert run.returncode == 1
    at_once, after = run.stderr.split("/run: ", 1)
    assert f"EG901 recording-stopped at step 8: {SAID}" in at_once
    assert SAID in after


def test_findings_say_it_in_words_as_json_and_by_their_status(command, cut_off):
    folder, _ = cut_off
    assert SAID in command("findings", folder).stdout
    told = command("findings", folder, "--json", "--fail-on", "critical")
    assert told.returncode == 1
    [finding] = [f for f in json.loads(told.stdout) if f["code"] == "EG901"]
    assert (finding["severity"], finding["step"]) == ("critical", 8)
    assert "No space left on device" in finding["message"]
    with load(folder) as run:
        assert "EG901" in {f.code for f in run.findings}
        assert (run.record.taken, run.record.recorded, run.record.stopped_at) == (30, 8, 8)


def test_compare_says_it(command, cut_off):
    folder, _ = cut_off
    assert f"EG901 recording-stopped (step 8): {SAID}" in command("compare", folder, folder).stdout


def test_the_report_says_it(command, cut_off, tmp_path):
    folder, _ = cut_off
    written = command("report", folder, "--out", tmp_path / "report.html")
    assert written.returncode == 0, written.stderr
    assert SAID in (tmp_path / "report.html").read_text()


def test_the_dashboard_says_it_in_its_headline(cut_off, tmp_path):
    from edgeglass_diag.verdict import judge

    folder, _ = cut_off
    with load(folder) as run:
        losses = [reading.values[0] for _, reading in run.readings("loss/total", site="")]
        verdict = judge(run.findings, losses, None, run.status, recorded=run.record.recorded, taken=run.record.taken)
    assert SAID in verdict.text
    assert verdict.tone == "critical"


def test_no_findings_is_only_said_of_what_was_recorded(command, tmp_path):
    program = tmp_path / "train.py"
    program.write_text(PROGRAM)
    ran = command("run", "--every", "10", "--select", "EG801", "--out", tmp_path / "run", program)
    assert ran.returncode == 0
    assert "no findings in the 19 of 30 steps that were recorded" in ran.stderr  # 0 to 10, then ever further apart
    ran = command("run", "--every", "1", "--select", "EG801", "--out", tmp_path / "all", program)
    assert "30 steps, no findings\n" in ran.stderr
