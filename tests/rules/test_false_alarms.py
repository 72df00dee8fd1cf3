"""What looks like a fault and is none, beside the fault that it looks like."""

import math

import pytest

from edgeglass_diag.records import Severity
from edgeglass_diag.sites import LossFunction, LossSite, Task
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


def constant_side(**overrides):
    level = {f"|loss/{name}": lambda t: CHANCE for name in ("total", "explained")}
    return learning(**level, **{"cross_entropy|loss/logit_std": lambda t: 0.01}, **overrides)


def test_a_side_that_never_varied_is_no_matter_of_the_rate():
    signal = {"image[:64]|embedding/sample_signal": lambda t: 1e-6, "image|activation/sample_signal": lambda t: 1e-6}
    found, _ = judge(constant_side(**signal))
    assert found["EG301"].fix.startswith("Look at image: from the first step on it gives the same for every sample")


def test_a_side_that_collapsed_by_large_steps_is():
    signal = {"image[:64]|embedding/sample_signal": lambda t: 0.4 if t < 30 else 1e-6}
    found, _ = judge(constant_side(**signal, **{"w|update/ratio": lambda t: 0.05, "image|activation/rms": lambda t: 1}))
    assert found["EG301"].fix.startswith("Lower the learning rate by 10 and add warm-up: a step changes the median")


def test_the_fix_for_a_loss_at_chance_knows_the_task():
    loss = LossSite(path="cross_entropy", function=LossFunction.CROSS_ENTROPY, task=Task.CLASSIFICATION)
    steady = {"w|update/ratio": lambda t: 3e-3}
    told = judge(constant_side(**steady, more_sites=[loss]))[0]["EG401"].fix
    assert told.startswith("Look at some samples with their labels as the loss gets them")
    still = judge(constant_side(**{"w|update/ratio": lambda t: 1e-5}, more_sites=[loss]))[0]
    assert still["EG206"].fix.startswith("Raise the learning rate")


@pytest.mark.parametrize(
    ("task", "words"), [(Task.CLASSIFICATION, "outputs as there are classes"), (Task.CONTRASTIVE, "larger batch")]
)
def test_a_single_candidate_is_told_of_by_task(task, words):
    loss = LossSite(path="cross_entropy", function=LossFunction.CROSS_ENTROPY, task=task)
    found, _ = judge(learning(**{"cross_entropy|loss/candidates": lambda t: 1}, more_sites=[loss]))
    assert words in found["EG404"].fix
