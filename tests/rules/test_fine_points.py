"""What single rules wait for, and what they leave alone."""

import math

from edgeglass_diag.records import Severity
from edgeglass_diag.rules import CATALOGUE, Engine
from edgeglass_diag.sites import Side
from tests.helpers.cases import FAULTY
from tests.helpers.pieces import CHANCE, DRAWN, GUESS, LOADED, NOT_HELD, STUCK, WITHOUT, always, codes, origin
from tests.helpers.windows import embedding, judge, learning, module, parameter, window


def test_a_rule_that_fails_leaves_the_others_alone():
    class Broken(CATALOGUE[0]):
        code = "XX001"

        def check(self, history):
            raise ZeroDivisionError("by zero")

    engine = Engine([Broken(), *(rule() for rule in CATALOGUE)])
    for item in learning(**FAULTY["EG405"]):
        engine.feed(item)
    assert engine.failures == {"XX001": "ZeroDivisionError: by zero"}
    assert "EG405" in {finding.code for finding in engine.findings}


def test_a_momentum_encoder_is_frozen_and_well():
    assert "EG004" not in codes({**FAULTY["EG004"], "head.weight|weight/written": lambda t: float(t > 0)})


def test_a_fact_is_the_cause_of_no_fault():
    kept = dict(
        more_sites=[parameter("head.weight", coverage=NOT_HELD)], origins=[origin("head.weight", DRAWN, LOADED)]
    )
    found = codes({**kept, **STUCK, **GUESS, "cross_entropy|loss/logit_std": always(0.01)})
    assert found["EG003"].severity == Severity.INFO
    assert found["EG401"].because_of != "EG003"


def test_a_term_without_weight_is_a_fact_until_the_end():
    _, engine = judge(learning(**FAULTY["EG701"]), ended=False)
    (fact,) = (f for f in engine.findings if f.code == "EG701")
    (fault,) = (f for f in engine.end() if f.code == "EG701")
    assert (fact.severity, fault.severity) == (Severity.INFO, Severity.WARNING)
    assert fact.step < fault.step == engine.history.last_step


def test_a_fault_that_comes_and_goes_keeps_the_step_at_which_it_first_was_one():
    class Rising(CATALOGUE[0]):
        def check(self, history):
            severity = {0: Severity.INFO, 1: Severity.WARNING, 2: Severity.INFO}.get(
                history.last_step, Severity.WARNING
            )
            yield self.finding(history, "", evidence={}, severity=severity)

    engine, steps = Engine([Rising()]), []
    for step in range(4):
        engine.feed(window(step, {}))
        steps.append(engine.findings[0].step)
    assert steps == [0, 1, 1, 1]


def test_a_warm_up_is_judged_at_the_end_only():
    _, engine = judge(learning(**FAULTY["EG212"]), ended=False)
    assert "EG212" not in {finding.code for finding in engine.findings}
    assert "EG212" in {finding.code for finding in engine.end()}


def test_a_fault_that_was_there_before_is_the_cause_although_it_was_found_later():
    found = codes({**STUCK, **GUESS, "w|update/ratio": always(0.003)})
    assert found["EG503"].step > found["EG101"].step + 20
    assert found["EG101"].because_of == "EG503"


def test_a_tower_that_is_cut_off_as_a_whole_is_not_unused():
    """Its own tokens, the blocks' attention and the output projection that the attention reads by itself."""
    names = ("image.cls", "image.attn.in_proj_weight", "image.attn.out_proj.weight", "image.proj.weight")
    sites = [
        module("image", parents=("image.proj",)), module("image.attn"), module("image.proj", parents=("image.attn",)),
        embedding("image.proj", 64, Side.IMAGE), *(parameter(n, coverage=WITHOUT) for n in names),
    ]  # fmt: skip
    found = codes({"more_sites": sites, "origins": [origin("w", DRAWN), *(origin(n, DRAWN) for n in names)]})
    assert set(found["EG005"].evidence["parameters"]) == set(names)
    assert "EG006" not in found


def test_a_side_that_wakes_is_left_to_wake():
    """Behind gates that start at zero: no signal at first, which grows all the time, and the loss falls late."""
    late = {
        f"|loss/{name}": (lambda t: CHANCE * (1 if t < 100 else 0.97 ** (t - 100))) for name in ("total", "explained")
    }
    shut = {
        **late,
        "cross_entropy|loss/logit_std": always(0.5),
        "w|update/ratio": always(0.01),
        "image|activation/rms": always(1.0),
    }
    wakes = {**shut, "image[:64]|embedding/sample_signal": lambda t: min(0.5, 1e-8 * 1.2**t)}
    sleeps = {**shut, "image[:64]|embedding/sample_signal": lambda t: 1e-8 * (1.5 + math.sin(t))}
    assert not {"EG301", "EG401", "EG101"} & codes(wakes).keys()
    assert {"EG301", "EG401"} <= codes(sleeps).keys()


def test_weights_that_have_come_far_are_not_held_back_by_the_rate():
    stopped = {**STUCK, "w|update/ratio": lambda t: 0.01 if t < 30 else 1e-6}
    assert "EG206" not in codes(stopped)
    assert "EG206" in codes({**STUCK, "w|update/ratio": always(1e-6)})


def test_steps_lost_to_rounding_are_waited_for_while_the_rate_rises():
    lost = {**STUCK, "w|update/rounded_away": always(0.95), "w|update/ratio": always(3e-5)}
    assert "EG804" in codes({**lost, "group0|optimizer/lr": always(1e-5)})
    assert "EG804" not in codes({**lost, "group0|optimizer/lr": lambda t: 1e-7 * 1.05**t})


def test_dropout_of_a_half_is_usual():
    half = {**STUCK, **GUESS, "image.drop|dropout/p": always(0.5), "w|update/ratio": always(0.01)}
    assert "EG216" not in codes(half)
    assert codes({**half, "image.drop|dropout/p": always(0.9)})["EG401"].because_of == "EG216"
