"""Marks of an explanation beside a run: kept apart, shown wherever its findings are."""

import json
import shutil

import pytest

from edgeglass_diag.marks import EXPLAINED, FindingMark, Mark, read_explained, read_marks, write_marks
from edgeglass_diag.plain_values import finding_summary
from edgeglass_diag.records import UsageError
from edgeglass_diag.store import find_runs, load
from tests.helpers.dashboard_runs import CONSTANT, UPDATES, write_collapsed

CONFIRMED = FindingMark(UPDATES.code, UPDATES.site, Mark.CONFIRMED, "learning rate x 0.1 cures (3/3)")
REFUTED = FindingMark(CONSTANT.code, CONSTANT.site, Mark.REFUTED, "latents drawn anew do not cure (0/3)")


@pytest.fixture
def run(tmp_path):
    write_collapsed(tmp_path / "runs" / "perceiver")
    return tmp_path / "runs" / "perceiver"


def marked(run):
    with load(run) as opened:
        return {f.code: (f.mark, f.mark_by) for f in opened.findings if f.mark is not None}


def test_a_run_has_no_mark_until_it_is_explained(run):
    assert read_marks(run) == {}
    assert marked(run) == {}
    write_marks(run, [CONFIRMED, REFUTED], str(run.parent / "why"))
    assert read_marks(run)[UPDATES.key] == CONFIRMED
    assert marked(run) == {"EG203": (Mark.CONFIRMED, CONFIRMED.by), "EG301": (Mark.REFUTED, REFUTED.by)}
    assert find_runs(run.parent) == [run]
    assert not list(run.glob("*.tmp"))


def test_the_newest_explanation_counts_and_what_never_was_found_is_not_shown(run):
    write_marks(run, [CONFIRMED], str(run.parent / "why"))
    write_marks(run, [REFUTED, FindingMark("EG999", "", Mark.CONFIRMED), FindingMark("EG203", "x", Mark.REFUTED)], "w")
    assert set(marked(run)) == {"EG301"}


def test_the_explanation_is_found_where_run_and_explanation_were_moved_together(run, tmp_path):
    write_marks(run, [CONFIRMED], str(run.parent / "why"))
    assert read_explained(run).folder == run.parent / "why"
    shutil.move(run.parent, tmp_path / "moved")
    assert read_explained(tmp_path / "moved" / "perceiver").folder == tmp_path / "moved" / "why"


def test_findings_as_text_and_as_json_show_the_mark(run, command):
    write_marks(run, [CONFIRMED, FindingMark("EG205", "optimizer", Mark.NOT_ASKED)], str(run.parent / "why"))
    lines = command("findings", run).stdout.splitlines()
    assert "         confirmed by replays: learning rate x 0.1 cures (3/3)" in lines
    assert "         not asked by any replay" in lines
    shown = {each["code"]: each for each in json.loads(command("findings", run, "--json").stdout)}
    assert (shown["EG203"]["mark"], shown["EG203"]["mark_by"]) == ("confirmed", "learning rate x 0.1 cures (3/3)")
    assert (shown["EG301"]["mark"], shown["EG301"]["mark_by"]) == (None, "")
    assert json.loads(json.dumps(finding_summary(CONSTANT)))["mark"] is None


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"explanation": "why"}', '{"explanation": 3, "marks": []}', "\0",
     '{"explanation": "why", "marks": [{"code": "EG203", "site": "", "mark": "perhaps", "by": ""}]}'],
)  # fmt: skip
def test_marks_that_cannot_be_read_leave_the_findings_and_say_so_in_a_line(run, content):
    (run / EXPLAINED).write_text(content)
    explained = read_explained(run)
    assert (explained.folder, explained.marks) == (None, {})
    assert explained.fault.startswith("the findings are shown without the marks of their explanation: ")
    assert "explained.json" in explained.fault
    assert "\n" not in explained.fault
    with load(run) as opened:
        assert len(opened.findings) == 6


def test_the_command_says_that_the_marks_are_broken_and_shows_the_findings(run, command):
    (run / EXPLAINED).write_text("{")
    done = command("findings", run, "--json")
    assert (done.returncode, len(json.loads(done.stdout))) == (0, 6)
    assert done.stderr.startswith("the findings are shown without the marks of their explanation: ")
    (run / EXPLAINED).unlink()
    (run / EXPLAINED).mkdir()
    assert "explained.json: cannot be read: Is a directory" in command("findings", run).stderr


def test_marks_that_cannot_be_written_leave_the_old_ones(run, monkeypatch):
    write_marks(run, [CONFIRMED], "why")
    before = (run / EXPLAINED).read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(UsageError, match=r"cannot mark the findings of .*perceiver: No space left on device"):
        write_marks(run, [REFUTED], "why")
    assert (run / EXPLAINED).read_bytes() == before
    assert not list(run.glob("*.tmp"))
