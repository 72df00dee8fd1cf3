"""``eg.watch`` in a real kernel draws in place, changes nothing of the record, and never harms the training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat.v4 as v4
import pytest
from nbclient import NotebookClient

import edgeglass_diag as eg
from edgeglass_diag import watching
from edgeglass_diag.notebooks import live
from edgeglass_diag.notebooks.kernel import in_kernel
from edgeglass_diag.notebooks.live import LiveView, live_view
from edgeglass_diag.records import Reading, RunStatus, Window
from edgeglass_diag.signals.losses import LOSS_CHANCE, LOSS_TOTAL
from edgeglass_diag.window_writer import WindowWriter
from tests.helpers import tiny_training
from tests.helpers.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
STEPS = 25
SETUP = """
import multiprocessing, sys
sys.path.insert(0, {root!r})
from edgeglass_diag.notebooks import kernel, live
from tests.helpers import tiny_training
live.PAUSE = 0.0
drawn, put = [], kernel.Place.put
def counted(place, document):
    drawn.append(document)
    put(place, document)
kernel.Place.put = counted
"""
DRAWN = """
tiny_training.train({out!r}, steps={steps})
"""
LOOK = """
states = [document[0].word for document in drawn if len(document) > 1 and hasattr(document[1], "rows")]
steps = [int(document[1].rows[0][0]) for document in drawn if hasattr(document[1], "rows")]
assert states.count("RUNNING") > 2 and states[-1] == "FINISHED", states
assert steps == sorted(steps) and steps[-1] == {steps}, steps
assert kernel.in_kernel()
with multiprocessing.get_context("fork").Pool(1) as pool:
    assert pool.apply(kernel.in_kernel) is False
import edgeglass_diag as eg
eg.load({out!r})
"""
BROKEN = """
def broken(place, document):
    raise OSError("the front end is gone")
kernel.Place.put = broken
tiny_training.train({out!r}, steps={steps})
"""
SILENT = """
import torch
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
with eg.watch(model, optimizer, out={out!r}, live=False):
    model(torch.ones(4, 2)).sum().backward()
    optimizer.step()
"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Run the cells in one kernel; gives the outputs of each, and the folder of the runs."""
    out = tmp_path_factory.mktemp("live")
    given = {"root": str(ROOT), "steps": STEPS}
    sources = [
        SETUP.format(**given), DRAWN.format(**given, out=str(out / "drawn")),
        LOOK.format(**given, out=str(out / "drawn")), BROKEN.format(**given, out=str(out / "broken")),
        SILENT.format(out=str(out / "silent")),
    ]  # fmt: skip
    notebook = v4.new_notebook(cells=[v4.new_code_cell(source) for source in sources])
    NotebookClient(notebook, timeout=PATIENCE, resources={"metadata": {"path": str(out)}}).execute()
    return [cell.outputs for cell in notebook.cells], out


def words(outputs):
    return [output.data["text/plain"] for output in outputs if output.output_type == "display_data"]


def test_a_watch_draws_in_place(executed):
    outputs, _ = executed
    state, findings = words(outputs[1])
    assert state.startswith("- **FINISHED** drawn")
    assert f"| {STEPS} | " in state
    assert "chance 3.466" in state
    assert "- **CRITICAL** EG301" in findings
    assert [output.output_type for output in outputs[1]] == ["display_data", "display_data"]
    assert {"text/html", "text/markdown", "text/plain"} == set(outputs[1][0].data)


def test_a_run_is_shown_with_the_figure_of_its_loss(executed):
    outputs, _ = executed
    shown, figure = (output.data for output in outputs[2])
    assert "Does not learn" in shown["text/html"]
    assert figure["application/vnd.plotly.v1+json"]["layout"]["height"] == 240


def test_the_record_and_the_training_are_those_without_a_view(executed, tmp_path):
    _, out = executed
    tiny_training.train(tmp_path / "plain", steps=STEPS)
    with eg.load(tmp_path / "plain") as plain, eg.load(out / "drawn") as drawn, eg.load(out / "broken") as broken:
        assert len(plain.signals) > 20
        for signal in plain.signals:
            expected = plain.frame(signal)
            assert expected.equals(drawn.frame(signal)), signal
            assert expected.equals(broken.frame(signal)), signal
        assert plain.findings == drawn.findings == broken.findings


def test_a_view_that_cannot_be_drawn_is_given_up_once(executed):
    outputs, out = executed
    said = "".join(output.text for output in outputs[3] if output.output_type == "stream")
    assert said.count("the live view is not drawn any more, the record goes on: OSError: the front end is gone") == 1
    assert eg.load(out / "broken").status == RunStatus.FINISHED


def test_without_live_nothing_is_drawn(executed):
    outputs, _ = executed
    assert outputs[4] == []


def test_elsewhere_there_is_no_view():
    assert not in_kernel()
    assert live_view("name", lambda: 0, list) is None
    line = "from edgeglass_diag.notebooks.kernel import in_kernel; print(in_kernel())"
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--quick", "--no-banner", "--colors=NoColor", "-c", line],
        capture_output=True, text=True, check=True, cwd=ROOT, timeout=PATIENCE,
    )  # fmt: skip
    assert done.stdout.strip() == "False"


def test_the_view_in_words(monkeypatch):
    documents, clock, steps = [], [10.0], [0]
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(live, "_drawn", lambda place, document: documents.append(document))
    view = LiveView("mine", lambda: steps[0], list)
    view.begins()
    assert documents[-1][1].rows == [("0", "not seen yet", "–", "none so far")]
    readings = (Reading(7, "", LOSS_TOTAL, (float("nan"),)), Reading(7, "", LOSS_CHANCE, (3.5,)))
    clock[0], steps[0] = 10.1, 1
    view.window(Window(7, readings), [])
    assert len(documents) == 1  # too early for another picture
    clock[0], steps[0] = 12.0, 8
    view.beat()
    assert documents[-1][1].rows == [("8", "NaN (chance 3.5)", "4", "none so far")]
    view.ends(RunStatus.FAILED)
    assert documents[-1][0].word == "FAILED"


@pytest.fixture
def drawn(monkeypatch):
    """What a watch draws where there is no kernel."""
    words = []
    monkeypatch.setattr(live, "_drawn", lambda place, document: words.append(document[0].word))
    monkeypatch.setattr(live, "PAUSE", 0.0)
    monkeypatch.setattr(watching, "live_view", LiveView)
    return words


def test_the_end_that_ctrl_c_makes_is_drawn_and_stays(drawn, monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(WindowWriter, "close", interrupted)
    watch = watching.Watch(tmp_path / "run", live=True)
    with pytest.raises(KeyboardInterrupt), watch:
        pass
    watch._view.beat()  # of the thread that writes, which goes on in the kernel
    assert drawn == ["RUNNING", "STOPPED"]
    with eg.load(tmp_path / "run") as run:
        assert run.status == RunStatus.STOPPED


def refused(*_):
    raise OSError("no space left on device")


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ("edgeglass_diag.store.RunWriter.finish", refused),
        ("edgeglass_diag.window_writer.WindowWriter._drained", lambda _: False),
        ("edgeglass_diag.record.recorder.Recorder.__exit__", refused),
    ],
    ids=["full disk", "stuck thread", "own failure"],
)
def test_an_end_that_could_not_be_noted_is_not_claimed(drawn, monkeypatch, tmp_path, capsys, method, says):
    monkeypatch.setattr(method, says)
    with watching.Watch(tmp_path / "run", live=True):
        pass
    assert drawn[-1] == "END NOT RECORDED"
    assert "the end of the run could not be" in capsys.readouterr().err
