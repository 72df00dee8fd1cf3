"""What is ill, what counts as found, named and located, and what the baseline says, on made numbers and records."""

import json

import pytest
from typer.testing import CliRunner

from edgeglass_diag import catalogue
from edgeglass_diag.commands import app
from edgeglass_diag.records import Finding, Severity, SourceLine
from edgeglass_models.exam import product
from edgeglass_models.exam.baseline import alarms
from edgeglass_models.exam.cache import Judged
from edgeglass_models.exam.cases import Case
from edgeglass_models.exam.judged import judged, write_judged
from edgeglass_models.exam.located import Place, is_located, places_of
from edgeglass_models.exam.operators.operator import Operator
from edgeglass_models.exam.results import Result, detection
from edgeglass_models.exam.scores import scores
from edgeglass_models.exam.truth import Truth, margin, truth_of
from tests.helpers.windows import embedding, learning, parameter, window

HEALTHY = [0.80, 0.84, 0.82, 0.81, 0.83]
OPERATOR = Operator("rate", "optimizer", "The rate.", "made", ("optimizer",), patch=lambda tree: tree)
TWIN = "a = 1\nb = 2\nc = 3\nd = 4\ne = 5\n"
CASE = Case("simclr", OPERATOR, TWIN.replace("e = 5", "e = 6"), TWIN)


def finding(code, severity=Severity.WARNING, site="", because_of=None, step=7, place=None):
    return Finding(code, code.lower(), severity, site, step, "", because_of=because_of, place=place)


def judgement(*findings, baseline=(), withdrawn=()):
    return Judged(findings, withdrawn, {}, dict(baseline), {one.site: places_of(one.site, ()) for one in findings})


def test_ill_is_what_is_worse_with_every_seed_and_by_more_than_noise():
    assert truth_of([0.3, 0.4, 0.2], HEALTHY) is Truth.ILL
    assert truth_of([0.3, 0.4, 0.81], HEALTHY) is Truth.UNCLEAR
    assert truth_of([0.79, 0.79, 0.79], HEALTHY) is Truth.UNCLEAR
    assert truth_of([0.80], HEALTHY) is Truth.HARMLESS
    assert truth_of([float("-inf")] * 3, HEALTHY) is Truth.ILL


def test_the_margin_knows_the_size_of_the_test_set_and_the_spread():
    assert margin([0.5] * 5) == pytest.approx(3 * (2 / 3) ** 0.5 * (0.25 / 128) ** 0.5, rel=1e-3)
    assert margin([0.2, 0.8, 0.2, 0.8, 0.5]) > 3 * margin([0.5] * 5) / 2
    assert margin([1.0] * 5) > 0


def test_what_the_twin_has_as_well_is_not_found():
    twin = judgement(finding("EG1"), finding("EG2"))
    said = detection(CASE, judgement(finding("EG1"), finding("EG2", Severity.CRITICAL)), twin, ())
    assert [alarm.code for alarm in said.alarms] == ["EG2"]
    assert not detection(CASE, judgement(finding("EG3", Severity.INFO)), twin, ()).found


def test_named_by_an_alarm_or_by_what_it_follows_from():
    record = judgement(finding("EG1", because_of="EG2"), finding("EG2", Severity.INFO), finding("EG3"))
    assert [one.code for one in detection(CASE, record, judgement(), ("EG2",)).named] == ["EG2"]
    assert not detection(CASE, record, judgement(), ("EG4",)).named
    assert detection(CASE, record, judgement(), ("EG3",)).delay == 7


@pytest.mark.parametrize(
    ("site", "place", "located"),
    [
        ("group0", None, True),
        ("", None, True),
        ("head.weight", None, False),
        ("head.weight", SourceLine("/somewhere/simclr.py", 5), True),
        ("head.weight", SourceLine("/somewhere/simclr.py", 1), False),
        ("head.weight", SourceLine("/somewhere/other.py", 5), False),
    ],
)
def test_located_by_the_site_or_by_a_changed_line(site, place, located):
    assert is_located(finding("EG1", site=site, place=place), CASE, {site: places_of(site, ())}) is located


def test_sites_belong_to_sides():
    image, weight = embedding("vision", 64), parameter("text.proj.weight")
    record = [window(0, {}, [image, weight])]
    assert places_of(image.path, record) == [Place.IMAGE, Place.LOSS]
    assert places_of(weight.path, record) == [Place.MODEL, Place.TEXT]


def losses(values, norms=None):
    readings = [
        {("", "loss/total"): value, ("", "gradient/norm"): 1.0 if norms is None else norms[step]}
        for step, value in enumerate(values)
    ]
    return [window(step, one) for step, one in enumerate(readings)]


def test_the_baseline_says_what_usual_thresholds_say():
    falling = [4 * 0.9**step for step in range(40)]
    assert alarms(losses(falling)) == {}
    assert alarms(losses([*falling[:20], float("nan"), *falling[21:]])) == {"loss not finite": 20}
    assert alarms(losses([4.0] * 40)) == {"loss flat": 39}
    assert alarms(losses(falling, [1.0] * 10 + [100.0] * 30)) == {"gradient explodes": 12}
    assert alarms(losses(falling, [1e-9] * 40)) == {"gradient vanishes": 5}


def test_a_record_is_judged_from_the_cache_as_it_was():
    windows = list(learning())
    kept = product.unpack(product.pack(windows))
    assert product.fingerprint(kept) == product.fingerprint(windows)
    assert product.judge(kept) == product.judge(windows)
    assert [one for one in product.judge(kept).findings if one.severity is not Severity.INFO] == []


def result(truth, *said, operator="rate", part="study"):
    found = () if truth is Truth.CRASHED else (detection(CASE, judgement(*said), judgement(), ("EG1",)),)
    return Result("simclr", operator, "optimizer", part, truth, (0.1,), tuple(HEALTHY), found)


RESULTS = [
    result(Truth.ILL, finding("EG1")),
    result(Truth.ILL, finding("EG2"), part="exam"),
    result(Truth.HARMLESS, finding("EG1"), part="exam"),
    result(Truth.CRASHED),
    result(None, operator=""),
]


def test_scores_count_each_part_by_itself():
    study, exam = scores(RESULTS, "study"), scores(RESULTS, "exam")
    assert (study.ill.ill, study.ill.found, study.ill.named, study.ill.located) == (1, 1, 1, 1)
    assert (exam.ill.found, exam.ill.named) == (1, 0)
    assert (study.healthy.runs, study.healthy.warning, exam.harmless.warning) == (1, 0, 1)
    assert study.cases == {"ill": 1, "crashed": 1}


def test_the_catalogue_tells_what_a_rule_was_judged_on(tmp_path, monkeypatch):
    monkeypatch.setattr("edgeglass_models.exam.judged.EXPECTED", {"rate": ("EG1",)})
    assert judged(RESULTS)["EG1"] == {"cases": 2, "study": {"found": 1, "false": 0}, "exam": {"found": 0, "false": 1}}
    file = tmp_path / "judged.json"
    write_judged(RESULTS, file)
    first = catalogue.catalogue()[0]["code"]
    file.write_text(json.dumps({first: json.loads(file.read_text())["EG1"]}))
    monkeypatch.setattr(catalogue, "JUDGED", file)
    told = CliRunner().invoke(app, ["rules", first, "--json"])
    assert json.loads(told.stdout)[0]["judged"]["cases"] == 2
    assert "1 of 2 cases (study 1, exam 0), 1 false" in CliRunner().invoke(app, ["rules", first]).stdout
