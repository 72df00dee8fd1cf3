"""What the parameters of eg.watch do."""

import json
import sys
import threading

import pytest
import torch
from torch import nn

import edgeglass_diag as eg
from edgeglass_diag.record import window_clock
from edgeglass_diag.rules.numerics import NonFinite
from tests.helpers.waiting import PATIENCE


def train(steps=6, lr=float("inf")):
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()


def test_a_finding_is_reported_in_the_writing_thread(tmp_path):
    reported = []
    with eg.watch(out=tmp_path / "run", on_finding=lambda f: reported.append((f.code, threading.current_thread()))):
        train()
    run = eg.load(tmp_path / "run")
    assert {code for code, _ in reported} == {finding.code for finding in run.findings} >= {"EG801"}
    assert threading.current_thread() not in {thread for _, thread in reported}
    assert "on_finding" not in run.result


def test_an_error_is_noted_in_printable_characters(tmp_path):
    def ends():
        train(steps=2)
        raise ValueError("bad \x00 record\n\x1b[31m \ud800")

    with pytest.raises(ValueError, match="bad"), eg.watch(out=tmp_path / "run"):
        ends()
    with eg.load(tmp_path / "run") as run:
        assert run.failure == "ValueError: bad \\x00 record \\x1b[31m \\ud800"


def test_an_error_of_on_finding_is_noted_and_the_training_goes_on(tmp_path, capfd):
    calls = []

    def fails(finding):
        calls.append(finding)
        raise ValueError(f"no place for {finding.code}")

    with eg.watch(out=tmp_path / "run", rules=["EG801"], on_finding=fails):
        train()
    run = eg.load(tmp_path / "run")
    assert (run.status, run.last_step, bool(calls)) == ("finished", 5, True)
    assert run.result["on_finding"] == "ValueError: no place for EG801"
    assert capfd.readouterr().err == "edgeglass-diag: on_finding failed on EG801: ValueError: no place for EG801\n"


def test_a_watch_that_on_finding_ends_is_a_whole_record(tmp_path, capfd):
    ends = threading.Event()

    def end(finding):
        watched.__exit__(None, None, None)
        ends.set()

    watched = eg.watch(out=tmp_path / "run", rules=["EG801"], on_finding=end)

    def watch():
        with watched:
            train()
            ends.wait(PATIENCE)

    training = threading.Thread(target=watch)  # what only passes calls through from then on ends with its thread
    training.start()
    training.join(PATIENCE)
    assert ends.is_set()
    run = eg.load(tmp_path / "run")
    assert run.status == "finished"
    assert [finding.code for finding in run.findings] == ["EG801"]
    assert capfd.readouterr().err == ""


def test_sys_exit_in_on_finding_ends_neither_the_record_nor_the_training(tmp_path, capfd):
    with eg.watch(out=tmp_path / "run", rules=["EG801"], on_finding=lambda finding: sys.exit(3)):
        train()
    run = eg.load(tmp_path / "run")
    assert (run.status, run.result["on_finding"], run.windows) == ("finished", "SystemExit: 3", 6)
    assert "on_finding failed on EG801" in capfd.readouterr().err


def test_stop_on_ends_the_training(tmp_path):
    with pytest.raises(eg.StopTraining, match="stopped on EG801"), eg.watch(out=tmp_path / "run", stop_on=["EG801"]):
        train(steps=500)
    run = eg.load(tmp_path / "run")
    assert run.status == "stopped"
    assert run.last_step < 499


def test_rules_are_objects_or_codes(tmp_path):
    for name, rules, expected in (
        ("codes", ["EG5", "EG801"], {"EG801"}),
        ("object", [NonFinite()], {"EG801"}),
        ("none", [], set()),
    ):
        with eg.watch(out=tmp_path / name, rules=rules):
            train()
        assert {finding.code for finding in eg.load(tmp_path / name).findings} == expected


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rules": "EG801"}, "rules: expected a sequence of rules or codes, got 'EG801'"),
        ({"rules": [3]}, "rules: expected Rule objects or codes, got 3"),
        ({"rules": ["EG999"]}, "no rule has a code that begins with 'EG999'; see 'edgeglass-diag rules'"),
        ({"stop_on": "EG801"}, "stop_on: expected a sequence of codes, got 'EG801'"),
        (
            {"rules": ["EG1"], "stop_on": ["EG801"]},
            "stop_on: no rule 'EG801'; see 'edgeglass-diag rules'",
        ),
        ({"model": "resnet"}, "model: expected a torch.nn.Module, got str"),
        ({"optimizer": []}, "optimizer: expected one torch.optim.Optimizer, got list"),
    ],
)
def test_wrong_options_name_what_was_expected(tmp_path, options, said):
    with pytest.raises(eg.UsageError) as error:
        eg.watch(out=tmp_path / "run", **options)
    assert str(error.value) == said
    assert not (tmp_path / "run").exists()


class Wrapper(torch.optim.Optimizer):
    """As Accelerate's: an optimizer that steps another."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def step(self, closure=None):
        self.optimizer.step()


@pytest.mark.parametrize("given", ["none", "generator", "wrapped"])
def test_the_given_optimizer_ends_the_windows(tmp_path, given):
    critic, generator = nn.Linear(4, 4), nn.Linear(4, 4)
    critics, generators = (torch.optim.SGD(model.parameters(), 0.01) for model in (critic, generator))
    named = {"none": None, "generator": generators, "wrapped": Wrapper(generators)}[given]
    with eg.watch(optimizer=named, out=tmp_path / "run", every=1, rules=[]) as watch:
        for _ in range(4):
            generator(torch.randn(8, 4)).square().mean().backward()
            (named or generators).step()
            for _ in range(3):
                critic(torch.randn(8, 4)).square().mean().backward()
                critics.step()
    assert watch.step == (4 if named is not None else 12)


def test_a_second_phase_with_another_optimizer_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(window_clock, "PATIENCE", 3)
    model = nn.Linear(4, 4)
    first, second = (torch.optim.SGD(model.parameters(), 0.01) for _ in range(2))
    with eg.watch(model, first, out=tmp_path / "run", every=1, rules=[]) as watch:
        for optimizer in [first] * 2 + [second] * 6 + [first] + [second] * 2:
            model(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
    assert watch.step == 2 + 3 + 1  # three of the second go by before it counts as a phase of its own


def test_the_name_of_the_run(tmp_path):
    with eg.watch(out=tmp_path / "run", name="mine"):
        train(steps=1, lr=0.1)
    assert eg.load(tmp_path / "run").name == "mine"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["name"] == "mine"
