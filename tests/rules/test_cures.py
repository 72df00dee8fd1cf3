"""The interventions by which rules put their findings to the test."""

import pytest

from edgeglass_diag.intervention import AT_FINDING, KINDS, Intervention
from edgeglass_diag.intervention import Site as Place
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.replaying.nominations import headlines, nominate
from edgeglass_diag.rules import all_rules
from edgeglass_diag.rules.document import rule_page

WITH_CURES = [rule for rule in all_rules() if rule.cures]


@pytest.mark.parametrize("rule", WITH_CURES, ids=lambda rule: rule.code)
def test_a_cure_can_be_made(rule):
    assert len(rule.cures) == len(set(rule.cures)) <= 4
    for cure in rule.cures:
        cure.checked()
        if cure.site:
            assert cure.site == AT_FINDING
            assert KINDS[cure.name].site is not Place.NONE
    assert "Tried by explain: " in rule_page(rule)


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
    assert [each.intervention for each in nominated][:3] == [
        Intervention("initial.rows", site="latents"),
        Intervention("optimizer.lr", 0.1),
        Intervention("optimizer.lr", 0.01),
    ]
    asked = {each.intervention.label: [of.code for of in each.findings] for each in nominated}
    assert asked["optimizer.lr=0.1"] == ["EG202", "EG301"]


def test_a_rule_of_others_without_cures_nominates_nothing():
    assert nominate([finding("XX123"), finding("EG901")]) == []
