"""A setting that hinders learning is judged by what the model has learned under it, and nothing else is."""

import math

import pytest

from edgeglass_diag.records import ParameterOrigin, Severity
from edgeglass_diag.rules import CATALOGUE
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.progress import Progress, progress
from tests.helpers.windows import judge, learning, parameter, window

CHANCE = math.log(128)
LEVEL = {f"|loss/{name}": lambda t: CHANCE for name in ("total", "explained")}
RIGHT = {"cross_entropy|loss/accuracy": lambda t: 1.0}
BAD = {"cross_entropy|loss/accuracy": lambda t: 0.01}
HALF = {"cross_entropy|loss/accuracy": lambda t: 0.5}

SETTINGS = {
    "EG211": {"|gradient/uncleared": lambda t: 3.0, "|gradient/norm": lambda t: t + 1.0},
    "EG225": {"group0|optimizer/beta1": lambda t: 0.999, "group0|optimizer/beta2": lambda t: 0.9},
    "EG403": {"image[:64] x text[:64]|embedding/scale": lambda t: 1.0},
}
LINEAR = [parameter(f"{i}.weight", is_linear=True, behind=f"{i - 1}.weight" if i else "") for i in range(4)]


def found(code, **state):
    sites = LINEAR if code == "EG012" else ()
    return judge(learning(**SETTINGS.get(code, {}), **state, more_sites=sites))[0][code]


@pytest.mark.parametrize("code", [*SETTINGS, "EG012"])
def test_a_setting_is_a_fact_once_nearly_all_answers_are_right(code):
    assert found(code, **RIGHT).severity is Severity.INFO
    assert (
        "the model learns all the same: 100% of its answers are right, 1% by guessing" in found(code, **RIGHT).message
    )


@pytest.mark.parametrize("code", [*SETTINGS, "EG012"])
@pytest.mark.parametrize("state", [HALF, BAD | LEVEL], ids=["half", "none"])
def test_it_is_a_fault_while_answers_are_wrong(code, state):
    assert found(code, **state).severity.rank >= Severity.WARNING.rank


def test_it_is_a_fault_again_when_what_was_learned_is_lost():
    lost = {"cross_entropy|loss/accuracy": lambda t: 1.0 if t < 200 else 0.02}
    assert found("EG403", **lost).severity is Severity.WARNING


def test_what_harms_although_it_learns_is_not_excused():
    weighed = {rule.code for rule in CATALOGUE if rule.hinders_learning}
    assert weighed == {
        "EG012", "EG014", "EG017", "EG208", "EG209", "EG210", "EG211", "EG215", "EG225", "EG228", "EG229", "EG322",
        "EG403", "EG405",
    }  # fmt: skip


def shown(values, *, relative=None, answers=None):
    history = History()
    for step, value in enumerate(values):
        readings = {("", "loss/total"): value}
        if relative is not None:
            readings |= {("", "loss/chance"): CHANCE, ("", "loss/explained"): value}
        if answers is not None:
            accuracy, rows = answers
            at = {"accuracy": accuracy, "rows": rows, "candidates": 3, "largest_label": 0.9}
            readings |= {("cross_entropy", f"loss/{name}"): number for name, number in at.items()}
        history.add(window(step, readings))
    return progress(history)


FALLS = [4 * 0.9**t for t in range(30)]


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ({"values": FALLS}, Progress.UNDER_WAY),
        ({"values": [4.0] * 30}, Progress.UNKNOWN),
        ({"values": [*FALLS, math.nan]}, Progress.UNKNOWN),
        ({"values": [-value for value in FALLS]}, Progress.UNKNOWN),
        ({"values": [2 * value for value in FALLS[:20]], "relative": True}, Progress.UNDER_WAY),
        ({"values": [5 + value for value in FALLS], "relative": True}, Progress.UNKNOWN),
        ({"values": [4.0] * 30, "answers": (0.9, 64)}, Progress.UNKNOWN),
        ({"values": [4.0] * 30, "answers": (1.0, 64)}, Progress.DONE),
        ({"values": [4.0] * 30, "answers": (1.0, 2)}, Progress.UNKNOWN),
    ],
    ids=["falls", "flat", "breaks", "below zero", "below chance", "above chance", "majority", "right", "few"],
)
def test_progress_is_told_by_answers_and_by_the_loss(run, expected):
    assert shown(**run) is expected


def vanishing(until):
    """Queries that get no gradient worth the name until a step, beside a matrix that does."""
    sites = [parameter(name) for name in ("attention.to_q", "attention.to_v")]
    small = {"attention.to_q|gradient/norm": lambda t: 64 * (1e-9 if t < until else 1e-7)}
    usual = {f"{name}|gradient/norm": lambda t: 64e-3 for name in ("attention.to_v", "w")}
    origins = [ParameterOrigin(name, (64, 64), 0.02, ()) for name in ("w", "attention.to_q", "attention.to_v")]
    return judge(learning(**small, **usual, more_sites=sites, origins=origins))[0]["EG201"]


def test_a_gradient_that_vanished_for_a_time_is_a_fact():
    assert vanishing(until=60).severity is Severity.INFO
    assert "that has passed: it is otherwise since step 60" in vanishing(until=60).message
    assert vanishing(until=1000).severity is Severity.WARNING
