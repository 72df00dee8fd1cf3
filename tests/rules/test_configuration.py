"""Every rule explains itself and can be set."""

import json
import re
from collections import Counter
from dataclasses import asdict, fields
from pathlib import Path
from types import ModuleType

import pytest

import edgeglass_diag.rules as rules_package
from edgeglass_diag.catalogue import catalogue
from edgeglass_diag.records import Bounds, Severity, UsageError
from edgeglass_diag.rules import CATALOGUE, Stage, configure, current_code, find_rule, read_table
from edgeglass_diag.rules.catalogue import by_code, rules_in
from edgeglass_diag.rules.embeddings import ConstantEmbeddings
from edgeglass_diag.rules.history import History
from edgeglass_diag.signals import registry
from edgeglass_diag.signals.attention import ATTENTION_ENTROPY
from tests.helpers.windows import judge, learning

PAGES = {"coverage", "attention", "gradients", "signal", "overview", "retrieval", "embeddings"}


@pytest.mark.parametrize("rule", CATALOGUE, ids=lambda rule: rule.code)
def test_every_rule_explains_itself(rule):
    assert "Why:" in rule.documentation()
    assert "Formula:" in rule.documentation()
    assert all((rule.title, rule.source, rule.fix, rule.faulty, rule.healthy, rule.stages))
    assert set(rule.brought_by) <= {r.code for r in CATALOGUE}
    assert ("check" in vars(rule)) == (Stage.RUN in rule.stages)
    assert "check_at_init" not in vars(rule) or Stage.INIT in rule.stages


@pytest.mark.parametrize("rule", CATALOGUE, ids=lambda rule: rule.code)
def test_thresholds_that_count_are_integers_and_what_is_kept_of_a_run_is_plain(rule):
    made = rule()
    for field in fields(rule):
        assert type(getattr(made, field.name)).__name__ == field.type
    kept = made.configured()
    assert (kept.code, kept.title, kept.thresholds) == (rule.code, rule.title, made.thresholds)
    assert all(type(path) is str and registry.find(path) for path in (*kept.signals, *kept.bounds))
    assert kept.page in PAGES
    json.dumps(asdict(kept))


def test_bounds_are_those_of_the_thresholds():
    rules = {rule.code: rule for rule in configure(CATALOGUE, {}, thresholds=["EG101.entropy=0.9", "EG102.excess=0.5"])}
    assert rules["EG101"].bounds() == {ATTENTION_ENTROPY: Bounds(high=0.9)}
    assert rules["EG102"].configured().bounds == {"attention/effective_num_outputs": Bounds(low=1.5)}
    assert rules["EG202"].configured().bounds == {"update/ratio": Bounds(high=0.1)}
    assert rules["EG301"].configured().bounds == {"activation/sample_signal": Bounds(low=1e-4)}
    assert rules["EG302"].configured().bounds == {"embedding/effective_rank": Bounds(low=2.0)}


def test_a_rule_that_asks_another_ones_question_asks_it_as_configured():
    """EG401 by the constant side of EG301, which at a signal of 0.3 is constant only if its threshold says so."""
    level = {f"|loss/{name}": lambda t: 4.852 for name in ("total", "explained")}
    side = {"image[:64]|embedding/sample_signal": lambda t: 0.3, "cross_entropy|loss/logit_std": lambda t: 2.0}
    run = level | side | {"w|update/ratio": lambda t: 0.02, "image|activation/rms": lambda t: 1.0}
    severities = {
        "severe": judge(learning(**run), thresholds=["EG301.signal=0.5", "EG301.nats=100"])[0]["EG401"].severity,
        "usual": judge(learning(**run), ignore=["EG301"])[0].get("EG401"),
    }
    assert severities == {"severe": Severity.CRITICAL, "usual": None}
    assert History([ConstantEmbeddings(signal=0.5)]).rule(ConstantEmbeddings).signal == 0.5
    assert History().rule(ConstantEmbeddings) == ConstantEmbeddings()


def test_codes_are_unique():
    assert len({rule.code for rule in CATALOGUE}) == len(CATALOGUE)
    with pytest.raises(ValueError, match="two rules have the code EG301: ConstantEmbeddings and ConstantEmbeddings"):
        by_code([ConstantEmbeddings, ConstantEmbeddings])


@pytest.mark.parametrize("key", ["code", "name"])
def test_a_code_or_a_name_is_one_thing(key):
    """Rules of runs and conclusions of the audit are asked for by the same words."""
    counts = Counter(str(entry[key]) for entry in catalogue())
    assert len(counts) > 150
    assert [each for each, count in counts.items() if count > 1] == []


def test_a_rule_is_found_by_writing_its_class():
    """Each class with a code in a module of the package is in the catalogue: no list is to be edited."""
    folder = Path(rules_package.__file__).parent
    written = {
        code for file in folder.glob("*.py") for code in re.findall(r'^    code = "(.+)"$', file.read_text(), re.M)
    }
    assert written == {rule.code for rule in CATALOGUE}
    module = ModuleType("new_family")
    module.Fresh = type("Fresh", (ConstantEmbeddings,), {"code": "EG399", "__module__": "new_family"})
    module.ConstantEmbeddings = ConstantEmbeddings
    assert list(rules_in(module)) == [module.Fresh]


@pytest.mark.parametrize("code", [code for rule in CATALOGUE for code in rule.aliases])
def test_a_former_code_is_understood_everywhere(code):
    owner = find_rule(code)
    assert owner.code == current_code(code) != code
    assert [rule.code for rule in configure(CATALOGUE, {}, select=[code])] == [owner.code]
    assert owner.code not in {rule.code for rule in configure(CATALOGUE, {"ignore": [code]})}
    for old, new in owner.aliases[code].items():
        for rules in (configure(CATALOGUE, {code: {old: 5}}), configure(CATALOGUE, {}, thresholds=[f"{code}.{old}=5"])):
            assert next(rule for rule in rules if rule.code == owner.code).thresholds[new] == 5


def test_codes_of_before_are_those_of_the_merged_rules():
    former = {code: rule.code for rule in CATALOGUE for code in rule.aliases}
    assert former == {"EG052": "EG103", "EG053": "EG003", "EG250": "EG212", "EG252": "EG213", "EG650": "EG602"}


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
        ({"select": ["EG98"]}, "no rule has a code that begins with 'EG98'"),
        ({"EG202": {"ration": 1}}, "no threshold 'ration'; it has: learned, ratio, steps, windows"),
        ({"EG202": {"ratio": "x"}}, "ratio: expected a number, got 'x'"),
        ({"select": "EG1"}, "expected a list of codes, got 'EG1'"),
        ({"EG301": {"steps": 2.5}}, "[tool.edgeglass-diag.EG301] steps: steps counts, expected an integer, got 2.5"),
        ({"EG301": {"steps": 3.0}}, "steps counts, expected an integer, got 3.0"),
        ({"EG052": {"kys": 3}}, "[tool.edgeglass-diag.EG052]: no threshold 'kys'; it has: "),
    ],
)
def test_wrong_configuration_is_named(table, message):
    with pytest.raises(UsageError) as caught:
        configure(CATALOGUE, table)
    assert message in str(caught.value)
