"""What all integrations share, without a framework."""

import importlib
import logging
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from torch import nn

import edgeglass_diag as eg
from edgeglass_diag.extras import EXTRAS
from edgeglass_diag.integrations.session import Host, Session
from edgeglass_diag.programs.bootstrap.edgeglass_diag_after_import import VARIABLE


def train(session, host, *, steps=6, lr=float("inf")):
    """Train; return the steps that were taken until the session said stop."""
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr)
    session.begin(model, host)
    for step in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
        if session.after_step():
            return step + 1
    return steps


def test_findings_and_their_number_are_handed_to_the_framework(tmp_path):
    lines, numbers, called = [], [], []
    session = Session(tmp_path / "run", rules=["EG801"], on_finding=called.append)
    train(session, Host(lambda level, text: lines.append((level, text)), count=numbers.append))
    session.end()
    assert [finding.code for finding in called] == ["EG801"]
    assert [(level, text.split(" at ")[0]) for level, text in lines] == [
        (logging.CRITICAL, "edgeglass-diag: CRITICAL EG801 non-finite")
    ]
    assert numbers == [{"edgeglass_diag/findings": 1, "edgeglass_diag/critical": 1}]


def test_a_healthy_training_goes_on(tmp_path):
    lines = []
    session = Session(tmp_path / "run", stop_on=["EG801"])
    assert train(session, Host(lambda level, text: lines.append(text)), steps=30, lr=0.01) == 30
    session.end()
    run = eg.load(tmp_path / "run")
    assert (run.status, [f for f in run.findings if f.severity is eg.Severity.CRITICAL]) == ("finished", [])
    assert not any("stopped" in line for line in lines)


def test_numbers_alone_are_recorded_with_the_step_that_was_taken_last(tmp_path):
    session = Session(tmp_path / "run")
    session.record({"lost": 1.0})  # nothing is recorded yet
    train(session, Host(lambda level, text: None), steps=3, lr=0.01)
    session.record({"loss": torch.tensor(0.5), "each": torch.ones(2), "name": "x", "none": None, "n": 3})
    session.end()
    run = eg.load(tmp_path / "run")
    assert {name for name in run.signals if name.startswith("metric/")} == {"metric/loss", "metric/n"}
    assert run.frame("metric/loss")[["step", "value"]].to_numpy().tolist() == [[2, 0.5]]


def test_ranks_stop_together(tmp_path):
    asked = []

    def agree(stop):
        asked.append(stop)
        return len(asked) == 2  # another rank has a finding, this one has none

    session = Session(tmp_path / "run", stop_on=["EG801"], every=3)
    host = Host(lambda level, text: None, world_size=2, agree=agree)
    assert train(session, host, steps=30, lr=0.01) == 6
    session.end()
    assert asked == [False, False]
    assert eg.load(tmp_path / "run").result["error"] == "StopTraining: stopped on a finding of another rank"


def test_a_rank_records_into_the_run_of_the_first(tmp_path):
    for rank in (0, 1):
        session = Session(tmp_path / "run", rules=["EG801"])
        train(session, Host(lambda level, text: None, rank=rank, world_size=2))
        session.end()
    run = eg.load(tmp_path / "run")
    assert sorted(run.ranks) == [0, 1]
    assert [(finding.code, "only" in finding.message) for finding in run.findings] == [("EG801", False)]


def test_no_second_record_under_run(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "{}")
    lines = []
    session = Session(tmp_path / "run", stop_on=["EG801"], should_raise=True)
    assert train(session, Host(lambda level, text: lines.append(text))) == 6
    session.record({"epoch": 1})
    session.end()
    assert lines == ["edgeglass-diag run records this training: Diagnose makes no second record"]
    assert not (tmp_path / "run").exists()


def test_a_wrong_code_is_told_before_the_training(tmp_path):
    with pytest.raises(eg.UsageError, match="stop_on: no rule 'EG000'; see 'edgeglass-diag rules'"):
        train(Session(tmp_path / "run", stop_on=["EG000"]), Host(lambda level, text: None))


def test_what_a_process_leaves_open_ends_with_it(tmp_path):
    code = """
    from edgeglass_diag.integrations.session import Host
    from tests.integrations.test_session import Session, train

    train(Session("run"), Host(lambda level, text: None), lr=0.01)
    raise RuntimeError("no more data")
    """
    surroundings = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)], cwd=tmp_path, env=surroundings, capture_output=True, text=True
    )
    assert "RuntimeError: no more data" in done.stderr
    run = eg.load(tmp_path / "run")
    assert (run.status, run.result["error"]) == ("failed", "RuntimeError: no more data")


class Without:
    """A finder of an installation that lacks a package."""

    def __init__(self, package):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize("name", ["lightning", "transformers", "accelerate", "ignite"])
def test_a_missing_package_names_the_extra(name, monkeypatch):
    for module in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, f"edgeglass_diag.integrations.{name}", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Without(name), *sys.meta_path])
    with pytest.raises(ImportError) as error:
        importlib.import_module(f"edgeglass_diag.integrations.{name}")
    distribution = EXTRAS[name][name]
    assert str(error.value) == (
        f"edgeglass_diag.integrations.{name} needs {distribution}, which is not installed: "
        f"pip install 'edgeglass-diag[{name}]'"
    )
