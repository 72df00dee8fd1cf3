"""``audit`` as its user meets it."""

import json
import subprocess
import sys

import pytest

from tests.helpers.audit_logs import PUBLISHED


@pytest.fixture
def published(tmp_path):
    file = tmp_path / "published.json"
    file.write_text(json.dumps(PUBLISHED))
    return file


def test_json_alone_with_conclusions_and_what_they_imply(command, published):
    done = command("audit", published, "--json")
    result = json.loads(done.stdout)
    assert done.returncode == 0
    assert (result["inferred"]["batch_size"], result["inferred"]["n"]) == (128, 2984)
    assert set(result["histories"]) == {"baseline", "perceiver"}
    agreed = {"code", "name", "severity", "site", "step", "message", "evidence", "fix", "because_of"}
    agreed |= {"sites", "since", "learned_since", "place", "focus", "early_until", "mark", "mark_by"}
    assert all(set(conclusion) == agreed for conclusion in result["conclusions"])


def test_text_shows_the_arithmetic(command, published):
    shown = command("audit", published).stdout
    assert "4.803565601507823 = (23 ln 128 + ln 40) / 24 = 4.80356565" in shown
    assert "hypotheses tried, at most" in shown


def test_exit_status(command, published, tmp_path):
    assert command("audit", published, "--fail-on", "critical").returncode == 1
    for arguments in ((tmp_path / "none.json",), (published, "--column", "mood=x"), (published, "--fail-on", "sad")):
        done = command("audit", *arguments)
        assert (done.returncode, done.stdout, len(done.stderr.strip().splitlines())) == (2, "", 1)


def test_the_audit_loads_neither_torch_nor_readers_it_does_not_need(published):
    code = (
        "import sys; from pathlib import Path; from edgeglass_diag.auditing.audit import audit_files; "
        f"audit_files([Path({str(published)!r})]); "
        "print([m for m in ('torch', 'pandas', 'tensorboard', 'wandb') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
