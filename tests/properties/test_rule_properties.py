"""What holds of all rules: a worse fault is no smaller finding, and units do not matter."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from edgeglass_diag.guard.strategies import loss_histories
from edgeglass_diag.measures.chance import contrastive_floor
from tests.helpers.windows import STEPS, judge, learning, window

CHANCE = math.log(128)


def worst(found, code):
    return found[code].severity.rank if code in found else -1


def stuck(level, *, weight=1.0, spread=0.01):
    """A run whose loss stays at ``level`` times chance, with term weights that add up to ``weight``."""
    return learning(**{
        "|loss/total": lambda t: weight * CHANCE * level,
        "|loss/chance": lambda t: weight * CHANCE,
        "|loss/explained": lambda t: weight * CHANCE * level,
        "cross_entropy|loss/logit_std": lambda t: spread,
        "cross_entropy|loss/accuracy": lambda t: 1 / 128,
        "cross_entropy|loss/weight": lambda t: weight,
    })  # fmt: skip


@given(st.floats(1.0, 1.5), st.floats(0.0, 0.5))
def test_a_loss_farther_above_chance_is_no_smaller_finding(level, more):
    low, high = judge(stuck(level))[0], judge(stuck(level + more))[0]
    assert worst(low, "EG401") == 2
    assert worst(high, "EG401") >= worst(low, "EG401")


@given(st.floats(0.2, 0.97), st.floats(0.0, 0.75))
def test_a_loss_below_chance_is_silent_and_a_better_one_too(level, better):
    assert "EG401" not in judge(stuck(level, spread=1.0))[0]
    assert "EG401" not in judge(stuck(level * (1 - better), spread=1.0))[0]


AT_THE_BORDER = 0.99
"""Of chance: at it exactly, rounding decides whether a loss is below."""


@given(
    st.floats(0.9, 1.2).filter(lambda level: abs(level - AT_THE_BORDER) > 1e-9),
    st.floats(0.01, 50.0),
    st.floats(0.001, 5.0),
)
def test_the_weight_of_the_loss_does_not_matter(level, weight, spread):
    one, other = judge(stuck(level, spread=spread))[0], judge(stuck(level, weight=weight, spread=spread))[0]
    assert {code: f.severity for code, f in one.items()} == {code: f.severity for code, f in other.items()}


@given(loss_histories(), st.floats(0.01, 50.0))
def test_the_same_holds_of_drawn_losses(losses, weight):
    def history(factor):
        steps = [s for s in STEPS if s < len(losses)]
        return learning(steps, **{
            "|loss/total": lambda t: factor * losses[t],
            "|loss/chance": lambda t: factor * CHANCE,
            "|loss/explained": lambda t: factor * losses[t],
            "cross_entropy|loss/weight": lambda t: factor,
        })  # fmt: skip

    one, other = judge(history(1.0))[0], judge(history(weight))[0]
    assert {code: f.severity for code, f in one.items()} == {code: f.severity for code, f in other.items()}


@given(st.floats(0.001, 0.08), st.floats(1.0, 100.0))
def test_larger_updates_are_no_smaller_finding(ratio, factor):
    def found(value):
        return judge(stuck_with_updates(value))[0]

    def stuck_with_updates(value):
        return learning(**{
            "|loss/total": lambda t: 1.01 * CHANCE,
            "|loss/explained": lambda t: 1.01 * CHANCE,
            "|loss/chance": lambda t: CHANCE,
            "w|update/ratio": lambda t: value,
        })  # fmt: skip

    assert worst(found(ratio), "EG202") <= worst(found(ratio * factor), "EG202")
    assert worst(found(0.5), "EG202") == 1
    assert worst(found(ratio), "EG202") == -1


@given(st.floats(0.5, 1.0), st.floats(0.0, 1.0))
def test_a_more_uniform_attention_is_no_smaller_finding(entropy, more):
    def found(value):
        run = {
            "|loss/total": lambda t: CHANCE, "|loss/explained": lambda t: CHANCE, "|loss/chance": lambda t: CHANCE,
            "image.attention|attention/entropy": lambda t: [value, value],
        }  # fmt: skip
        return judge(learning(**run))[0]

    assert worst(found(entropy), "EG101") <= worst(found(entropy + (1 - entropy) * more), "EG101")
    assert worst(found(1.0), "EG101") == 1


@given(st.floats(1e-12, 1.0), st.floats(0.0, 1.0))
def test_a_side_with_less_signal_is_no_smaller_finding(signal, factor):
    def found(value):
        return judge(learning(**{
            "image[:64]|embedding/sample_signal": lambda t: value, "image|activation/rms": lambda t: 1.0,
        }))[0]  # fmt: skip

    assert worst(found(signal), "EG301") <= worst(found(signal * factor), "EG301")
    assert worst(found(0.0), "EG301") == 2
    assert worst(found(0.2), "EG301") == -1


@given(st.floats(0.01, 100.0), st.floats(0.0, 0.99))
def test_a_smaller_scale_is_no_smaller_finding(scale, factor):
    def found(value):
        return judge(learning(**{"image[:64] x text[:64]|embedding/scale": lambda t: value}))[0]

    assert worst(found(scale), "EG403") <= worst(found(scale * (1 - factor)), "EG403")
    assert contrastive_floor(scale * (1 - factor), 128) >= contrastive_floor(scale, 128)


@given(st.sampled_from([math.nan, math.inf, -math.inf]), st.sampled_from(STEPS))
def test_a_loss_that_is_not_finite_is_critical_whenever_it_comes(value, step):
    found, _ = judge(learning(**{"|loss/total": lambda t: value if t >= step else CHANCE * 0.5}))
    assert worst(found, "EG801") == 2


@given(st.floats(1e-4, 2.0), st.floats(1e-5, 5.0), st.integers(1, 64), st.sampled_from([0.0, 1.0]), st.floats(0.1, 1.0))
def test_smaller_learned_queries_are_no_smaller_finding(rms, spread, count, learned, factor):
    def found(size):
        site = "layers.0.attention"
        readings = {
            (site, "operand/queries"): count, (site, "operand/keys"): 50, (site, "operand/learned"): learned,
            (site, "operand/query_rms"): size * rms, (site, "operand/query_spread"): 0.9,
            (site, "operand/own_share"): 1.0,
            (site, "attention/logit_std"): size * spread, (site, "attention/top1"): 0.1,
            (site, "attention/entropy"): 0.9,
        }  # fmt: skip
        return judge([window(0, readings)])[0]

    assert worst(found(1.0), "EG050") <= worst(found(factor), "EG050")
    fires = learned == 1 and count > 1 and rms < 0.5 and spread < 0.05
    assert worst(found(1.0), "EG050") == (1 if fires else -1)
    assert worst(found(1.0), "EG103") == (1 if spread >= math.sqrt(2 * math.log(50)) else -1)


def test_a_healthy_run_is_silent():
    assert judge(learning())[0] == {}
