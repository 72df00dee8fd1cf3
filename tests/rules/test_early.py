"""A verdict that nothing is learned is early until the model has had the time to begin, and no longer."""

import math

import pytest

from edgeglass_diag.records import Severity
from edgeglass_diag.rules.patience import LONGEST, SHORTEST, scheduled_steps
from edgeglass_diag.rules.series import Series
from tests.helpers.windows import judge, learning

CHANCE = math.log(128)
LONG = [*range(11), *range(20, 1400, 10)]


def sits(until=math.inf, steps=LONG, **overrides):
    """A run whose loss is that of chance until a step, with a flat softmax, and half of it from there on."""
    level = {f"|loss/{name}": lambda t: CHANCE * (1 if t < until else 0.5) for name in ("total", "explained")}
    flat = {"cross_entropy|loss/logit_std": lambda t: 0.01 if t < until else 1.0}
    return [*learning(steps, **level, **flat, **{"w|update/ratio": lambda t: 0.02}, **overrides)]


def before(step, run):
    return [window for window in run if window.step < step]


def test_a_plateau_is_a_warning_that_may_be_early():
    found, engine = judge(before(200, sits()), ended=False)
    assert (found["EG401"].severity, found["EG401"].early_until) == (Severity.WARNING, LONGEST)
    assert f"this may be early: it stands from step {LONGEST} on" in found["EG401"].message
    assert [f.code for f in engine.end() if f.code == "EG401"] == ["EG401"]
    assert {f.severity for f in engine.findings if f.code == "EG401"} == {Severity.CRITICAL}


def test_it_stands_once_the_model_has_had_its_time():
    found, _ = judge(sits(), ended=False)
    assert (found["EG401"].severity, found["EG401"].early_until) == (Severity.CRITICAL, None)


def test_it_is_withdrawn_as_soon_as_the_loss_leaves_chance():
    found, _ = judge(before(140, sits(until=100)), ended=False)
    assert (found["EG401"].severity, found["EG401"].learned_since) == (Severity.INFO, 100)
    assert all(finding.severity is Severity.INFO for finding in found.values())


def test_where_no_gradient_is_left_nothing_is_early():
    found, _ = judge(before(60, sits(**{"|gradient/norm": lambda t: 0.0})), ended=False)
    assert (found["EG401"].severity, found["EG401"].early_until) == (Severity.CRITICAL, None)


def test_what_training_does_not_mend_is_never_early():
    found, _ = judge(before(60, sits(**{"cross_entropy|loss/is_probability": lambda t: 1.0})), ended=False)
    assert (found["EG405"].severity, found["EG405"].early_until) == (Severity.CRITICAL, None)


@pytest.mark.parametrize("shape", [lambda p: 1 - p, lambda p: (1 + math.cos(math.pi * p)) / 2])
@pytest.mark.parametrize(("length", "until"), [(600, SHORTEST), (4000, 400), (100_000, LONGEST)])
def test_the_length_of_a_run_is_read_off_its_schedule(shape, length, until):
    steps = [*range(11), *range(20, 190, 10)]
    found, _ = judge(sits(steps=steps, **{"group0|optimizer/lr": lambda t: 1e-3 * shape(t / length)}), ended=False)
    assert found["EG401"].early_until == pytest.approx(until, rel=0.06)


def test_while_a_rate_warms_up_nothing_stands():
    found, _ = judge(sits(**{"group0|optimizer/lr": lambda t: 1e-6 * (t + 1)}), ended=False)
    assert found["EG401"].early_until == LONG[-1] + LONGEST


def test_a_rate_that_falls_otherwise_tells_no_length():
    series = Series()
    for step in range(0, 300, 10):
        series.append(step, 1e-3 * 0.1 ** (step // 100))
    assert scheduled_steps(series) is None


def test_what_is_lost_again_is_no_slow_start():
    level = {f"|loss/{name}": lambda t: CHANCE * (0.5 if t < 60 else 1) for name in ("total", "explained")}
    flat = {"cross_entropy|loss/logit_std": lambda t: 1.0 if t < 60 else 0.01, "w|update/ratio": lambda t: 0.02}
    found, _ = judge(before(160, learning(LONG, **level, **flat)), ended=False)
    assert (found["EG401"].severity, found["EG401"].early_until) == (Severity.CRITICAL, None)
