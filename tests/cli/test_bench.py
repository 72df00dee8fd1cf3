"""The verb ``bench``: what is measured, how it is counted, and that it goes on where it stopped."""

import json

import pytest
from typer.testing import CliRunner

from edgeglass_diag.bench.scores import summary, verdict
from edgeglass_diag.commands import app
from edgeglass_diag.provider_protocols import provider
from edgeglass_diag.records import Finding, Severity, UsageError


def bench(*arguments):
    result = CliRunner().invoke(app, ["bench", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def finding(code, site="", step=5, severity=Severity.WARNING, because_of=None, **typed):
    return Finding(code, code.lower(), severity, site, step, "", because_of=because_of, **typed)


@pytest.fixture
def case():
    return next(case for case in provider().cases() if case.name == "head-outside-the-optimizer")


def test_a_case_says_what_names_it_and_where_it_sits(case):
    assert case.expected == ("EG003",)
    assert verdict(case, [finding("EG003", "text_proj.weight")])["located"]
    elsewhere = verdict(case, [finding("EG003", "visual")])
    assert (elsewhere["named"], elsewhere["located"]) == (True, False)


def test_only_headlines_name_and_only_warnings_find(case):
    nested = [finding("EG301"), finding("EG003", "text_proj", because_of="EG301")]
    assert (verdict(case, nested)["found"], verdict(case, nested)["named"]) == (True, False)
    assert not verdict(case, [finding("EG003", "text_proj", severity=Severity.INFO)])["found"]


def test_false_alarms_are_counted_by_their_worst():
    healthy = next(case for case in provider().cases() if case.name == "plain")
    withdrawn = finding("EG401", severity=Severity.INFO, learned_since=60)
    worst = ([], [finding("EG502")], [finding("EG301", severity=Severity.CRITICAL)], [withdrawn])
    counted = summary([verdict(healthy, found) for found in worst])["healthy"]
    assert counted == {"runs": 4, "false_critical": 1, "false_warning": 1, "withdrawn": 1}


def test_the_cases_are_many_and_their_codes_exist():
    cases = list(provider().cases())
    known = {entry["code"] for entry in json.loads(CliRunner().invoke(app, ["rules", "--json"]).stdout)}
    assert len({case.name for case in cases}) == len(cases)
    assert sum(bool(case.expected) for case in cases) >= 50
    assert sum(not case.expected for case in cases) >= 25
    assert {code for case in cases for code in case.expected} <= known
    assert all(case.summary for case in cases)


@pytest.mark.long
def test_the_fast_subset_is_named_and_healthy_models_are_silent(tmp_path):
    measured = json.loads(bench("--fast", "--out", str(tmp_path / "bench"), "--json").stdout)
    assert measured["faults"]["total"] >= 5
    assert set(measured["faults"].values()) == {measured["faults"]["total"]}
    assert measured["healthy"] == {"runs": 2, "false_critical": 0, "false_warning": 0, "withdrawn": 0}


@pytest.mark.slow
@pytest.mark.long
def test_a_bench_is_gone_on_with_where_nothing_has_changed(tmp_path):
    given = ("--faults", "plain,normalised-before-slicing", "--out", str(tmp_path / "bench"), "--json")
    measured = json.loads(bench(*given).stdout)
    assert measured["faults"] == dict.fromkeys(("total", "found", "named", "located"), 1)
    assert measured["healthy"] == {"runs": 1, "false_critical": 0, "false_warning": 0, "withdrawn": 0}
    again = bench(*given)
    assert "seed 0" not in again.stderr
    assert json.loads(again.stdout) == measured
    verdict_file = tmp_path / "bench/plain-0/verdict.json"
    old = json.loads(verdict_file.read_text())
    verdict_file.write_text(json.dumps({**old, "stamp": {**old["stamp"], "rules": 0}}))  # of other sources
    assert "1/1 plain (seed 0)" in bench(*given).stderr


def test_wrong_use_is_named(tmp_path):
    with pytest.raises(UsageError, match="no case matches 'nothing'"):
        bench("--out", str(tmp_path / "new"), "--faults", "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="not empty and holds no bench"):
        bench("--out", str(tmp_path))
