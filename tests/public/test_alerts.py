"""Findings at a webhook: each once, whatever the training and the webhook do."""

from __future__ import annotations

import json
import socket
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import nn

import edgeglass_diag as eg
from edgeglass_diag.alerts.alerts import Alerts
from edgeglass_diag.records import Finding, Severity
from tests.helpers.waiting import until
from tests.helpers.webhook import webhook

STANDS = Finding("EG402", "loss-at-chance", Severity.CRITICAL, "", 40, "the loss is ln B", fix="Look.", sites=("",))
EARLY = replace(STANDS, severity=Severity.WARNING, step=9, early_until=40)
LEARNED = replace(EARLY, severity=Severity.INFO, early_until=None, learned_since=30)


@pytest.fixture
def hook():
    with webhook() as served:
        yield served


@pytest.fixture
def alerts(hook):
    return Alerts(hook.address, "mine", lambda: True)


def train(steps=6, lr=float("inf"), before_step=lambda step: None):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr)
    for step in range(steps):
        before_step(step)
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()


def test_each_finding_is_told_once_and_those_of_the_end_too(tmp_path, hook):
    with eg.watch(out=tmp_path / "run", notify=hook.address):
        train()
    found = eg.load(tmp_path / "run").findings
    assert Counter(hook.told) == Counter({finding.key: 1 for finding in found})
    assert "EG801" in {code for code, _ in hook.told}
    (body,) = [body for body in hook.bodies if body["finding"]["code"] == "EG801"]
    assert (body["event"], body["run"], body["finding"]["severity"]) == ("finding", "run", "critical")
    assert body["text"].startswith("CRITICAL EG801 non-finite in run at step ")
    assert body["text"].splitlines()[-1].startswith("Fix: ")


def test_a_healthy_training_is_silent(tmp_path, hook):
    with eg.watch(out=tmp_path / "run", notify=hook.address, rules=["EG801"]):
        train(lr=0.01)
    assert hook.posted == []


def test_the_training_does_not_wait_for_an_answer(tmp_path, hook):
    hook.open.clear()
    with eg.watch(out=tmp_path / "run", notify=hook.address, rules=["EG801"]):
        train(steps=2)
        until(lambda: hook.posted, "the finding was posted")
        train(steps=3)
        assert len(hook.posted) == 1
        hook.open.set()
    assert eg.load(tmp_path / "run").status == "finished"
    assert len(hook.posted) == 1


def test_a_dead_address_is_one_line_and_the_record_goes_on(tmp_path, capfd):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with eg.watch(out=tmp_path / "run", notify=f"http://127.0.0.1:{port}/services/sEcReT?key=sEcReT"):
            train()
    run = eg.load(tmp_path / "run")
    assert (run.status, run.windows, len(run.findings) > 1) == ("finished", 6, True)
    said = capfd.readouterr().err
    assert said.strip().splitlines() == [
        f"edgeglass-diag: findings cannot be told to http://127.0.0.1:{port}/...: Connection refused;"
        " the training and its record go on"
    ]
    assert not [file for file in (tmp_path / "run").rglob("*") if file.is_file() and b"sEcReT" in file.read_bytes()]


@pytest.mark.parametrize(("rank", "folder"), [(0, "run"), (1, "run/rank-1")])
def test_no_file_repeats_an_address_that_stands_in_the_command(tmp_path, hook, monkeypatch, rank, folder):
    monkeypatch.setattr("sys.argv", ["train.py", f"--webhook={hook.address}"])
    with eg.watch(out=tmp_path / "run", notify=hook.address, rules=["EG801"], rank=rank, world_size=2):
        train()
    header = json.loads((tmp_path / folder / "run.json").read_text())
    assert header["command"] == ["train.py", f"--webhook={hook.server}/..."]
    assert bool(hook.posted) == (rank == 0)


def test_a_finding_is_told_once_it_stands_and_never_again(hook, alerts):
    for findings in ([EARLY], [EARLY], [STANDS], [replace(STANDS, because_of="EG301")], [EARLY]):
        alerts.tell(findings)
    alerts.tell([STANDS], last=True)
    alerts.close()
    assert [(body["finding"]["step"], body["finding"]["severity"]) for body in hook.bodies] == [(40, "critical")]


def test_what_is_early_is_told_at_the_end_and_what_has_passed_is_not(hook, alerts):
    other = replace(EARLY, site="text")
    alerts.tell([EARLY, other])
    assert hook.posted == []
    alerts.tell([LEARNED, other], last=True)
    alerts.close()
    assert hook.told == [("EG402", "text")]


def test_a_webhook_that_asks_for_a_pause_gets_one(hook, alerts, capfd):
    hook.answers += [(429, {"Retry-After": "0.01"}), (429, {"Retry-After": "0.01"})]
    alerts.tell([STANDS])
    alerts.close()
    assert (len(hook.posted), capfd.readouterr().err) == (3, "")


@pytest.mark.parametrize(
    ("status", "headers"), [(404, {}), (500, {}), (302, {"Location": "/other"}), (429, {"Retry-After": "3600"})]
)
def test_what_is_no_success_is_said_once(hook, alerts, capfd, status, headers):
    hook.answers += [(status, headers)] * 2
    alerts.tell([STANDS, replace(STANDS, code="EG301"), replace(STANDS, code="EG801")])
    alerts.close()
    assert hook.told == [("EG402", ""), ("EG301", ""), ("EG801", "")]
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert f"{hook.server}/...: HTTP status {status};" in line


@pytest.mark.parametrize(("rank", "told"), [("1", 0), ("0", 1)])
def test_of_several_ranks_the_first_tells(tmp_path, hook, monkeypatch, rank, told):
    monkeypatch.setenv("RANK", rank)
    with eg.watch(out=tmp_path / "run", notify=hook.address, rules=["EG801"]):
        train(steps=3)
    assert len(hook.posted) == told


@pytest.mark.parametrize(
    ("address", "path", "key"),
    [
        ("http://hooks.slack.com/services/T0/B0/x", "/services/T0/B0/x", "text"),
        ("http://discord.com/api/webhooks/1/x", "/api/webhooks/1/x", "content"),
        ("http://discord.com/api/v10/webhooks/1/x", "/api/v10/webhooks/1/x", "content"),
        ("http://canary.discord.com/api/webhooks/1/x/slack", "/api/webhooks/1/x/slack", "text"),
    ],
)
def test_slack_and_discord_get_their_own_form(hook, monkeypatch, address, path, key):
    monkeypatch.setenv("http_proxy", hook.server)
    alerts = Alerts(address, "mine", lambda: True)
    alerts.tell([replace(STANDS, message="<!everyone> & @everyone " + "x" * 3000)])
    alerts.close()
    ((asked, body),) = hook.posted
    assert asked.endswith(path)
    assert body[key].startswith("CRITICAL EG402 loss-at-chance in mine at step 40\n")
    if key == "text":
        assert "&lt;!everyone&gt; &amp; @everyone" in body["text"]
        assert body["text"].endswith("\nFix: Look.")
    else:
        assert len(body["content"]) == 2000
        assert body["allowed_mentions"] == {"parse": []}


@pytest.mark.parametrize(
    "address",
    ["http://slack.com/services/x", "http://discord.com.evil.org/api/webhooks/1", "http://discord.com/other",
     "http://hooks.slack.com/workflows/x"],
)  # fmt: skip
def test_other_addresses_get_the_whole_finding(hook, monkeypatch, address):
    monkeypatch.setenv("http_proxy", hook.server)
    alerts = Alerts(address, "mine", lambda: True)
    alerts.tell([STANDS])
    alerts.close()
    assert hook.told == [("EG402", "")]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ftp://host/sEcReT", "expected an http or https address, got 'ftp://host/...'"),
        ("sEcReT", "expected an http or https address, got '...'"),
        ("", "expected an http or https address, got '...'"),
        ("https:///sEcReT", "expected an http or https address, got '...'"),
        ("https://host/a sEcReT", "expected an http or https address, got 'https://host/...'"),
        ("https://me:sEcReT@host/x", "expected an address without user and password, got 'https://host/...'"),
        ("https://host:sEcReT/x", "expected an http or https address, got one that cannot be read"),
        ("https://[sEcReT/x", "expected an http or https address, got one that cannot be read"),
    ],
)
def test_an_address_that_is_none_is_said_before_anything_runs(tmp_path, command, address, said):
    with pytest.raises(eg.UsageError) as error:
        eg.watch(out=tmp_path / "run", notify=address)
    assert str(error.value) == f"notify: {said}"
    done = command("run", "train.py", "--notify", address, cwd=tmp_path) if address == "sEcReT" else None
    if done is not None:
        assert (done.returncode, done.stderr) == (2, f"edgeglass-diag: --notify: {said}\n")
    assert list(tmp_path.iterdir()) == []
