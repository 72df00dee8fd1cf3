"""Sinks are fed while a training runs: the same numbers as in the record, and nothing that fails in them reaches it."""

import random
import threading

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import edgeglass_diag as eg
from edgeglass_diag import extras
from edgeglass_diag.records import UsageError
from edgeglass_diag.sinks import Feeds, Sink, Target, feeds
from edgeglass_diag.watching import Watch
from tests.helpers.exported import assert_same, numbers


class Kept(Sink):
    """Keeps what it is told, and with which threads."""

    def __init__(self, gate=None):
        self.steps, self.findings, self.threads, self.status, self.gate = [], [], set(), None, gate

    def readings(self, step, readings):
        if self.gate is not None:
            self.gate.wait()
        self.steps.append(step)
        self.threads.add(threading.current_thread())

    def finding(self, finding):
        self.findings.append(finding)

    def close(self, status):
        self.status = status


class Failing(Sink):
    def readings(self, step, readings):
        raise SystemExit(f"no room at step {step}")


class Made(Target):
    """A target that gives the sink that a test has made."""

    def open(self, about, out):
        return SINKS[self.name]


SINKS = {}


def fed(**sinks):
    SINKS.update(sinks)
    return Feeds([Made(name, "csv", is_live=True) for name in sinks])


def train(watching=None, *, steps=6):
    """Train a small model; return its losses."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    with watching or torch.enable_grad():
        for _ in range(steps):
            loss = model(torch.randn(3, 4)).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item() + random.random() + np.random.random())
    return losses


def seeded(watching=None):
    random.seed(0)
    np.random.seed(0)
    return train(watching)


def test_what_is_reported_live_is_the_record_and_changes_nothing(tmp_path):
    plain = seeded()
    watched = seeded(eg.watch(out=tmp_path / "run", report_to=["tensorboard"]))
    assert watched == plain
    read = EventAccumulator(str(tmp_path / "run" / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    got = {(tag, event.step): event.value for tag in read.Tags()["scalars"] for event in read.Scalars(tag)}
    assert_same(got, {name: np.float32(value) for name, value in numbers(tmp_path / "run").items()})
    assert ("gradient/norm/0.weight", 5) in got


def test_findings_come_to_the_sink_in_a_thread_of_its_own(tmp_path):
    sink = Kept()
    with Watch(tmp_path / "run", feeds=fed(kept=sink)) as watching:
        watching.log({"loss": float("nan")}, 0)
        train()
    with eg.load(tmp_path / "run") as run:
        assert {finding.code for finding in run.findings} <= {finding.code for finding in sink.findings}
    assert sink.findings
    assert [thread.name for thread in sink.threads] == ["edgeglass-diag kept"]
    assert sink.status == "finished"


def test_a_failing_sink_is_one_line_and_the_other_and_the_record_go_on(tmp_path, capsys):
    sink = Kept()
    assert train(Watch(tmp_path / "run", feeds=fed(ill=Failing(), well=sink))) == pytest.approx(train(), abs=4)
    said = capsys.readouterr().err.splitlines()
    expected = "edgeglass-diag: nothing more is reported to ill, the record goes on: SystemExit: no room at step 0"
    assert [line for line in said if " ill" in line] == [expected]
    assert sorted(set(sink.steps)) == list(range(6))
    with eg.load(tmp_path / "run") as run:
        assert (run.status, run.windows) == ("finished", 6)


def test_a_sink_that_hangs_holds_neither_training_nor_record(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(feeds, "STALL", 0.3)
    gate = threading.Event()
    try:
        train(Watch(tmp_path / "run", feeds=fed(slow=Kept(gate))))
        said = capsys.readouterr().err
        assert "slow has not taken the rest of the run in time; edgeglass-diag export --to slow" in said
        with eg.load(tmp_path / "run") as run:
            assert (run.status, run.windows) == ("finished", 6)
    finally:
        gate.set()


def test_windows_beyond_the_room_are_told_and_findings_still_come(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(feeds, "ROOM", 0)
    sink = Kept()
    train(Watch(tmp_path / "run", feeds=fed(slow=sink)))
    assert sink.steps == []
    said = capsys.readouterr().err
    assert "slow was too slow for 6 windows; edgeglass-diag export --to slow writes all of them" in said


def test_a_sink_that_cannot_be_imported_is_one_line(tmp_path, capsys):
    missing = Target("gone", "gone", is_live=True, used=("edgeglass_no_such_package",))
    train(Watch(tmp_path / "run", feeds=Feeds([missing])))
    assert "nothing more is reported to gone, the record goes on: ModuleNotFoundError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (("parquet",), "report_to: expected one of tensorboard, wandb, mlflow, trackio, got 'parquet'"),
        ("wandb", "report_to: expected a sequence of names, got the text 'wandb'"),
    ],
)
def test_what_is_no_live_sink_is_refused(tmp_path, names, error):
    with pytest.raises(UsageError, match=f"^{error}$"):
        eg.watch(out=tmp_path / "run", report_to=names)


def test_a_missing_package_names_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    expected = r"report_to mlflow needs mlflow-skinny and sqlalchemy and alembic, which are not installed: pip install"
    with pytest.raises(UsageError, match=expected):
        eg.watch(out=tmp_path / "run", report_to=["mlflow"])
    assert not (tmp_path / "run").exists()
