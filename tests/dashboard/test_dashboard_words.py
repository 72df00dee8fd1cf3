import math

import pytest

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.verdict import judge, nest
from tests.helpers.dashboard_runs import AT_CHANCE, CHANCE, COLLAPSED, CONSTANT, EXACT, OVERWRITTEN, UPDATES


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
        ([], [4.9], "failed", "warning", "The run failed: loss 4.9 is at chance 4.85, and no rule fired"),
        ([], [7.0], "running", "neutral", "No findings so far: loss 7 is 2.1 above chance 4.85"),
        ([], [2.0, math.nan], "running", "critical", "Does not learn: the loss is no longer a finite number"),
        ([UPDATES], [2.0], "running", "warning", f"Learning, with a warning: {UPDATES.message}"),
        ([OVERWRITTEN], [2.0], "finished", "good", "Learning: loss 2 is 2.9 below chance 4.85"),
    ],
)
def test_verdict_says_whether_it_learns_and_what_is_wrong(findings, losses, status, tone, text):
    verdict = judge(findings, losses, CHANCE, status)
    assert (verdict.tone, verdict.text) == (tone, text)


def test_without_chance_the_verdict_claims_nothing():
    assert judge([], [2.0], None, "finished").text == "No findings: loss 2, chance not known"
