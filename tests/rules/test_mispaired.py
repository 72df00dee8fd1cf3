"""Pairs that do not match: the model learns to say nothing; and what comes near it."""

from edgeglass_diag.rules.batches import PairsDoNotMatch
from tests.helpers.pieces import GUESS, STUCK
from tests.helpers.windows import judge, learning

RULES = (PairsDoNotMatch,)

RESIGNED = {
    **STUCK,
    **GUESS,
    "cross_entropy|loss/logit_std": lambda t: 0.03 + 1.2 * 0.9**t,
    "image[:64]|embedding/sample_signal": lambda t: 0.005 + 0.4 * 0.9**t,
    "text[:64]|embedding/sample_signal": lambda t: 0.005 + 0.3 * 0.9**t,
    "w|update/ratio": lambda t: 0.003,
}


def test_a_model_that_learned_to_say_nothing():
    message = judge(learning(**RESIGNED))[0]["EG503"].message
    assert "the logits of all pairs became alike (spread 1.2, now 0.03)" in message


def test_logits_that_were_always_alike_are_silent():
    even = {"cross_entropy|loss/logit_std": lambda t: 0.03}
    assert "EG503" not in judge(learning(**RESIGNED | even))[0]


def test_a_loss_above_chance_is_not_at_rest():
    above = {f"|loss/{name}": lambda t: 4.852 * 1.1 for name in ("total", "explained")}
    assert "EG503" not in judge(learning(**RESIGNED | above))[0]


def test_what_learns_is_silent():
    assert "EG503" not in judge(learning())[0]
