"""A verdict that nothing is learned becomes a fact once the model learns, and never otherwise."""

import math

from edgeglass_diag.records import Severity
from tests.helpers.windows import judge, learning

CHANCE = math.log(128)


def sits_and(then):
    level = {f"|loss/{name}": (lambda t: CHANCE if t < 150 else then(t)) for name in ("total", "explained")}
    return learning(**level, **{"cross_entropy|loss/logit_std": lambda t: 0.01 if t < 150 else 1.0})


def test_a_model_that_leaves_chance_late_was_at_chance_and_is_well():
    found, _ = judge(sits_and(lambda t: CHANCE * 0.4))
    assert {code: finding.severity for code, finding in found.items()} == dict.fromkeys(found, Severity.INFO)
    assert found["EG401"].learned_since == 152
    assert "that has passed: since step 152 the model learns" in found["EG401"].message


def test_a_model_that_stays_is_not_excused():
    found, _ = judge(sits_and(lambda t: CHANCE * 0.99))
    assert found["EG401"].severity == Severity.CRITICAL


def test_one_that_learns_and_falls_back_is_found_again():
    found, _ = judge(sits_and(lambda t: CHANCE * 0.4 if t < 250 else CHANCE))
    assert found["EG207"].severity == Severity.CRITICAL
