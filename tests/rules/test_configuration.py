"""Every rule explains itself and can be set."""

import pytest

from edgeglass_diag.records import UsageError
from edgeglass_diag.rules import CATALOGUE, configure, read_table


@pytest.mark.parametrize("rule", CATALOGUE, ids=lambda rule: rule.code)
def test_every_rule_explains_itself(rule):
    assert "Why:" in rule.documentation()
    assert "Formula:" in rule.documentation()
    assert all((rule.title, rule.source, rule.fix, rule.faulty, rule.healthy, rule.stages))
    assert set(rule.brought_by) <= {r.code for r in CATALOGUE}


def test_codes_are_unique():
    assert len({rule.code for rule in CATALOGUE}) == len(CATALOGUE)


def test_configuration_selects_ignores_and_sets_thresholds(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[tool.edgeglass-diag]\nignore = ["EG1"]\n[tool.edgeglass-diag.EG202]\nratio = 0.5\n'
    )
    table = read_table(tmp_path / "below")
    rules = {rule.code: rule for rule in configure(CATALOGUE, table)}
    assert "EG101" not in rules
    assert rules["EG202"].thresholds["ratio"] == 0.5
    assert [rule.code for rule in configure(CATALOGUE, table, select=["EG301"])] == ["EG301"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"selct": []}, "unknown key 'selct'; did you mean 'select'?"),
        ({"select": ["EG9"]}, "no rule has a code that begins with 'EG9'"),
        ({"EG202": {"ration": 1}}, "no threshold 'ration'; it has: learned, ratio, steps, windows"),
        ({"EG202": {"ratio": "x"}}, "ratio: expected a number, got 'x'"),
        ({"select": "EG1"}, "expected a list of codes, got 'EG1'"),
    ],
)
def test_wrong_configuration_is_named(table, message):
    with pytest.raises(UsageError) as caught:
        configure(CATALOGUE, table)
    assert message in str(caught.value)
