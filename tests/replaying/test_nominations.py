"""In which order changes are tried."""

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.replaying.nominations import headlines, nominate


def finding(code, severity=Severity.CRITICAL, **changed):
    return Finding(code, "", severity, changed.pop("site", "tower"), changed.pop("step", 0), "", **changed)


def test_the_most_direct_change_of_each_headline_comes_first():
    found = [
        finding("EG301", because_of="EG202"),
        finding("EG202", Severity.WARNING, step=3),
        finding("EG002", site="latents"),
        finding("EG304", Severity.INFO),
    ]
    assert [each.code for each in headlines(found)] == ["EG002", "EG202"]
    nominated = nominate(found)
    assert [each.intervention for each in nominated][:2] == [
        Intervention("initial.rows", site="latents"),
        Intervention("optimizer.lr", 0.1),
    ]
    asked = {each.intervention.label: [of.code for of in each.findings] for each in nominated}
    assert asked["optimizer.lr=0.1"] == ["EG202", "EG301"]


def test_a_rule_of_others_without_cures_nominates_nothing():
    assert nominate([finding("XX123"), finding("EG901")]) == []
