"""The rules about the record itself: what each says of a record with its fault, and silence about a whole one."""

import pytest

from edgeglass_diag.records import Gap, RecordState
from edgeglass_diag.rules.record_health import RECORD_RULES, record_findings
from edgeglass_diag.sites import Coverage, ModuleSite, RecorderSite
from edgeglass_diag.store import RunWriter, load
from edgeglass_diag.verdict import ABOUT_THE_RECORD

RULES = RECORD_RULES
FULL = "OperationalError: database or disk is full"
FAILED = dict(coverage=Coverage.RECORDER_FAILED, detail="ValueError: no")
CASES = {
    "EG901": (
        RecordState(taken=40, recorded=20, stopped=FULL, stopped_at=20),
        (),
        ["from step 20 on", FULL, "step 39"],
    ),
    "EG902": (
        RecordState(taken=400, recorded=380, gaps=(Gap(20, 38, 10, FULL), Gap(90, 99, 10, "locked"))),
        (),
        ["20 windows are missing", "steps 20 to 38", FULL, "steps 90 to 99 (locked)"],
    ),
    "EG903": (RecordState(taken=5, failed_rules={"EG401": "IndexError: 0"}), (), ["EG401", "IndexError: 0"]),
    "EG904": (RecordState(missing_ranks=(1, 3)), (), ["ranks 1, 3"]),
    "EG906": (
        RecordState(),
        (RecorderSite(path="threads", coverage=Coverage.OTHER_THREAD_TRAINS),),
        ["another thread trains as well"],
    ),
    "EG905": (RecordState(), (ModuleSite(path="head", **FAILED),), ["1 place", "head", "ValueError: no"]),
}


@pytest.mark.parametrize("code", CASES)
def test_what_is_wrong_with_a_record_is_said(code):
    record, sites, said = CASES[code]
    [finding] = record_findings([rule() for rule in RULES], record, sites)
    assert finding.code == code
    assert all(words in finding.message for words in said), finding.message


def test_a_whole_record_brings_nothing():
    sites = (ModuleSite(path="head"), ModuleSite(path="unused", coverage=Coverage.NOT_CALLED))
    assert record_findings([rule() for rule in RULES], RecordState(taken=400, recorded=30), sites) == []


def test_what_is_lost_while_nothing_can_be_written_is_part_of_that():
    record = RecordState(taken=900, recorded=20, stopped=FULL, stopped_at=20, gaps=(Gap(20, 500, 480, FULL),))
    assert [finding.code for finding in record_findings([rule() for rule in RULES], record, ())] == ["EG901"]


def test_a_part_that_serves_the_whole_model_makes_it_a_warning():
    rules = [rule() for rule in RULES]
    part = RecorderSite(path="before_step", **FAILED)
    assert record_findings(rules, RecordState(), [ModuleSite(path="a", **FAILED)])[0].severity == "info"
    assert record_findings(rules, RecordState(), [ModuleSite(path="a", **FAILED), part])[0].severity == "warning"


def test_a_rank_without_a_record_is_missing_once_the_training_has_ended(tmp_path):
    main = RunWriter(tmp_path / "run", name="run", header={"program": {}, "rank": 0, "world_size": 3})
    other = RunWriter(tmp_path / "run" / "rank-2", name="run/rank-2", header={"rank": 2, "world_size": 3})
    with load(tmp_path / "run") as run:
        assert run.findings == []
    for writer in (other, main):
        writer.finish("finished", {})
    with load(tmp_path / "run") as run:
        assert [(finding.code, finding.evidence) for finding in run.findings] == [("EG904", {"ranks": [1]})]


def test_the_headline_knows_their_codes():
    assert {rule.code for rule in RULES} == ABOUT_THE_RECORD
