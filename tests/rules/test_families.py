"""Each rule names its faulty case and is silent on the healthy one beside it."""

import math

import pytest

from edgeglass_diag.records import Severity
from edgeglass_diag.rules import CATALOGUE
from tests.helpers.cases import FAULTY, HEALTHY
from tests.helpers.own_tests import codes_with_own_tests
from tests.helpers.pieces import codes
from tests.helpers.windows import judge, learning, window

METRICS = {
    "EG602": ({"i2t/R@1": 0.5, "i2t/R@5": 0.2, "i2t/R@10": 0.8}, {"i2t/R@1": 0.2, "i2t/R@5": 0.5, "i2t/R@10": 0.8}),
    "EG603": (
        {f"{way}/R@{k}": v for way in ("i2t", "t2i") for k, v in ((1, 0.3), (5, 0.6), (10, 0.7))},
        {f"{way}/R@{k}": v for way, v in (("i2t", 0.3), ("t2i", 0.31)) for k in (1, 5, 10)},
    ),
    "EG604": ({"i2t/R@1": 1.0}, {"i2t/R@1": 0.1}),
    "EG606": ({"i2t/R@1": math.nan}, {"i2t/R@1": 0.0}),
    "EG607": ({"i2t/R@10": 0.01}, {"i2t/R@10": 0.4}),
}
ELSEWHERE = {
    "EG001", "EG002", "EG050", "EG051", "EG101", "EG102", "EG202", "EG203", "EG301", "EG302",
    "EG401", "EG402", "EG403", "EG520", "EG521", "EG522", "EG601", "EG801",
}  # fmt: skip


def evaluated(metrics, accuracy):
    windows = list(learning(**{"cross_entropy|loss/accuracy": lambda t: accuracy}))
    for step in (396, 400):
        windows.append(window(step, {("", f"metric/{n}"): v for n, v in {**metrics, "n": 1000}.items()}))
    _, engine = judge(windows)
    assert engine.failures == {}
    return {finding.code for finding in engine.findings}


@pytest.mark.parametrize("code", FAULTY)
def test_a_fault_is_named(code):
    found = codes(FAULTY[code])
    severity = next(rule.severity for rule in CATALOGUE if rule.code == code)
    assert found[code].severity == severity
    assert severity == Severity.INFO or found[code].because_of is None


@pytest.mark.parametrize("code", HEALTHY)
def test_what_resembles_it_is_silent(code):
    assert code not in codes(HEALTHY[code])


@pytest.mark.parametrize("code", METRICS)
def test_evaluations(code):
    accuracy = 1 / 128 if code == "EG604" else 0.9
    faulty, healthy = METRICS[code]
    assert code in evaluated(faulty, accuracy)
    assert code not in evaluated(healthy, accuracy)


def test_every_rule_has_both_cases():
    assert set(FAULTY) == set(HEALTHY)
    assert {rule.code for rule in CATALOGUE} == set(FAULTY) | set(METRICS) | ELSEWHERE | codes_with_own_tests()
