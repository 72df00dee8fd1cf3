"""What looks like a fault and is none, beside the fault that it looks like."""

import math

import pytest

from edgeglass_diag.records import Severity
from tests.helpers.windows import judge, learning, parameter

CHANCE = math.log(128)


def falls_back(at, ratio=3e-3, chance=lambda t: CHANCE):
    level = {f"|loss/{name}": lambda t: chance(t) * (0.5 if t < at else 1) for name in ("total", "explained")}
    return learning(**level, **{"|loss/chance": chance, "w|update/ratio": lambda t: ratio})


@pytest.mark.parametrize(
    ("run", "severity", "words"),
    [
        (falls_back(200, ratio=0.1), Severity.CRITICAL, "data or task"),
        (falls_back(330), Severity.WARNING, "the weights moved by 1.2% only: data or task have changed"),
        (falls_back(200), Severity.CRITICAL, "data or task have changed"),
    ],
    ids=["by a step", "the data just now", "the data for long"],
)
def test_what_was_learned_is_lost_by_steps_or_by_data(run, severity, words):
    found, _ = judge(run, ended=False)
    assert found["EG207"].severity == severity
    assert (words in found["EG207"].message) is (severity is Severity.WARNING or "have changed" in words)


def test_a_harder_task_is_not_forgetting():
    found, _ = judge(falls_back(200, chance=lambda t: CHANCE if t < 200 else math.log(512)))
    assert "EG207" not in found


def decayed(rate):
    scale = {"scale|weight/norm": lambda t: 2.66, "group0|optimizer/weight_decay": lambda t: 0.2}
    return learning(**scale, **{"group0|optimizer/lr": lambda t: rate}, more_sites=[parameter("scale", ())])


def test_decay_on_the_scale_counts_by_what_it_takes():
    assert "EG209" in judge(decayed(1e-3))[0]
    assert "EG209" not in judge(decayed(1e-5))[0]
