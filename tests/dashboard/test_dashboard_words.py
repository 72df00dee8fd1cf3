import math

import pytest
from plotly.io.json import to_json_plotly

from edgeglass_dashboards.app import draw_page
from edgeglass_dashboards.runs import RunIndex
from edgeglass_dashboards.static import static_page
from edgeglass_diag.records import Finding, RecordState, RunStatus, Severity
from edgeglass_diag.verdict import judge, nest
from tests.dashboard.test_dashboard_heat import attend
from tests.helpers.dashboard_runs import (
    AT_CHANCE,
    CHANCE,
    COLLAPSED,
    CONSTANT,
    EXACT,
    OVERWRITTEN,
    UPDATES,
    start,
    window,
)


def codes(branches):
    return [(branch.finding.code, codes(branch.consequences)) for branch in branches]


def test_consequences_hang_under_their_cause_and_the_worst_root_leads():
    worst_first = sorted(COLLAPSED, key=lambda finding: (-finding.severity.rank, finding.step))
    assert codes(nest(worst_first)) == [
        ("EG301", [("EG401", [("EG601", [])])]),
        ("EG203", []),
        ("EG205", []),
        ("EG001", []),
    ]


def test_a_mild_cause_of_a_critical_finding_leads_before_a_warning():
    cause = Finding("EG002", "mild", Severity.INFO, "", 0, "cause")
    effect = Finding("EG301", "bad", Severity.CRITICAL, "", 0, "effect", because_of="EG002")
    assert codes(nest([UPDATES, cause, effect])) == [("EG002", [("EG301", [])]), ("EG203", [])]


def test_findings_that_name_each_other_as_cause_are_all_shown():
    first = Finding("EG002", "a", Severity.INFO, "", 0, "a", because_of="EG003")
    second = Finding("EG003", "b", Severity.INFO, "", 0, "b", because_of="EG002")
    below = Finding("EG004", "c", Severity.INFO, "", 0, "c", because_of="EG003")
    own = Finding("EG005", "d", Severity.INFO, "", 0, "d", because_of="EG005")
    assert codes(nest([first, second, below, own])) == [("EG002", []), ("EG003", [("EG004", [])]), ("EG005", [])]


def test_a_cause_that_was_not_found_leaves_a_root():
    assert codes(nest([EXACT])) == [("EG601", [])]


@pytest.mark.parametrize(
    ("findings", "losses", "status", "tone", "text"),
    [
        ([CONSTANT, AT_CHANCE], [CHANCE], "running", "critical", f"Does not learn: {CONSTANT.message}"),
        ([CONSTANT], [1.0], "running", "critical", f"Learning, but: {CONSTANT.message}"),
        ([], [4.9, 2.1], "running", "good", "Learning: loss 3.5 is 1.4 below chance 4.85"),
        ([], [4.9], "running", "neutral", "No findings so far: loss 4.9 is at chance 4.85"),
        ([], [], "running", "neutral", "No findings so far: no loss has been recorded"),
        ([], [4.9], "finished", "warning", "Did not learn: loss 4.9 is at chance 4.85, and no rule tells why"),
        ([], [4.9], "failed", "critical", "The run failed: loss 4.9 is at chance 4.85; no findings"),
        ([], [2.0], "failed", "critical", "The run failed. Learning: loss 2 is 2.9 below chance 4.85"),
        ([UPDATES], [2.0], "failed", "critical", f"Learning, with a warning: {UPDATES.message}"),
        ([], [7.0], "running", "neutral", "No findings so far: loss 7 is 2.1 above chance 4.85"),
        ([], [2.0, math.nan], "running", "critical", "Does not learn: the loss is no longer a finite number"),
        ([UPDATES], [2.0], "running", "warning", f"Learning, with a warning: {UPDATES.message}"),
        ([OVERWRITTEN], [2.0], "finished", "good", "Learning: loss 2 is 2.9 below chance 4.85"),
    ],
)
def test_verdict_says_whether_it_learns_and_what_is_wrong(findings, losses, status, tone, text):
    verdict = judge(findings, losses, CHANCE, status, recorded=40, taken=40)
    assert (verdict.tone, verdict.text) == (tone, text)


def test_without_chance_the_verdict_claims_nothing():
    assert judge([], [2.0], None, "finished", recorded=3, taken=3).text == "No findings: loss 2, chance not known"


STOPPED = Finding(
    "EG901",
    "recording-stopped",
    Severity.CRITICAL,
    "",
    30,
    "recording stopped at step 30: disk full; the training went on",
)
DROPPED = Finding("EG902", "windows-dropped", Severity.WARNING, "", 12, "3 windows were dropped")
UNASKED = Finding("EG903", "rule-failed", Severity.WARNING, "", 12, "EG301 failed and was asked no more")
MISSING = Finding("EG904", "rank-missing", Severity.WARNING, "", 0, "rank 3 of 4 has no record")
FAILED = Finding("EG905", "recorder-failed", Severity.INFO, "head", 0, "1 place was not observed")
AT = "loss 4.9 is at chance 4.85"
SO_FAR = "Learning as far as it was recorded: loss 2 is 2.9 below chance 4.85"
GAP = "in the 30 of 400 steps that were recorded"


@pytest.mark.parametrize(
    ("findings", "losses", "status", "tone", "model"),
    [
        (
            [STOPPED],
            [2.0],
            "finished",
            "critical",
            "Learning as far as it was recorded: loss 2 is 2.9 below chance 4.85",
        ),
        (
            [STOPPED],
            [2.0],
            "running",
            "critical",
            "Learning as far as it was recorded: loss 2 is 2.9 below chance 4.85",
        ),
        ([STOPPED], [4.9], "finished", "critical", f"No findings {GAP}: loss 4.9 is at chance 4.85"),
        ([STOPPED], [4.9], "running", "critical", f"No findings so far {GAP}: loss 4.9 is at chance 4.85"),
        (
            [STOPPED],
            [4.9],
            "stopped",
            "critical",
            f"The run was stopped: loss 4.9 is at chance 4.85; no findings {GAP}",
        ),
        ([STOPPED, CONSTANT], [4.9], "finished", "critical", f"Does not learn: {CONSTANT.message}"),
        ([STOPPED, UPDATES], [2.0], "finished", "critical", f"Learning, with a warning: {UPDATES.message}"),
        (
            [DROPPED],
            [2.0],
            "finished",
            "warning",
            "Learning as far as it was recorded: loss 2 is 2.9 below chance 4.85",
        ),
        (
            [UNASKED],
            [2.0],
            "finished",
            "warning",
            "Learning as far as it was recorded: loss 2 is 2.9 below chance 4.85",
        ),
        ([MISSING, DROPPED], [], "finished", "warning", f"No findings {GAP}: no loss has been recorded"),
        ([FAILED], [2.0], "finished", "good", "Learning: loss 2 is 2.9 below chance 4.85"),
        ([FAILED, CONSTANT], [2.0], "finished", "critical", f"Learning, but: {CONSTANT.message}"),
    ],
)
def test_what_was_not_recorded_is_said_beside_what_the_model_does(findings, losses, status, tone, model):
    verdict = judge(findings, losses, CHANCE, status, recorded=30, taken=400)
    record = "; ".join(finding.message for finding in findings if finding.code.startswith("EG9"))
    assert (verdict.tone, verdict.model, verdict.record) == (tone, model, record)
    assert verdict.text == f"{model}. {record}"


@pytest.mark.parametrize("status", ["running", "finished", "failed", "stopped"])
@pytest.mark.parametrize("losses", [[], [2.0], [4.9], [7.0]])
def test_no_findings_is_said_of_the_recorded_steps_alone(losses, status):
    for chance in (CHANCE, None):
        for recorded in (0, 30):
            text = judge([], losses, chance, status, recorded=recorded, taken=400).text.lower()
            assert "no findings" not in text or GAP in text


def test_a_record_that_was_cut_off_says_so_wherever_the_run_is_shown(tmp_path):
    writer = start(tmp_path / "cut")
    for step in range(30):
        writer.write(window(step, loss=2.0), [STOPPED, DROPPED] if step == 29 else [])
    writer.finish("finished", {})
    index = RunIndex(tmp_path)
    overview, listed = (to_json_plotly(draw_page(index, {"address": address})[0]) for address in ("/run/cut", "/runs"))
    for page in (overview, listed):
        assert SO_FAR.split(":")[0] in page
        assert STOPPED.message in page
        assert DROPPED.message in page
        assert "No findings" not in page
    assert "Run finished. critical finding EG901" in overview
    assert overview.count("finding-item edge-critical") == 1
    assert static_page(tmp_path / "cut").count(STOPPED.message) >= 2  # verdict, findings


def test_a_page_on_which_no_rule_fired_says_of_how_many_steps(tmp_path):
    writer = start(tmp_path / "sampled")
    for step in range(0, 40, 10):
        writer.write(attend(step))
    writer.finish(RunStatus.FINISHED, {}, RecordState(taken=31, recorded=4))
    page = draw_page(RunIndex(tmp_path), {"address": "/run/sampled", "search": "?page=attention"})[0]
    assert "No rule fired here in the 4 of 31 steps that were recorded. " in to_json_plotly(page)
    overview = to_json_plotly(draw_page(RunIndex(tmp_path), {"address": "/run/sampled"})[0])
    assert "No findings in the 4 of 31 steps that were recorded" in overview
