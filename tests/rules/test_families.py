"""For each rule a faulty case that it names, and a healthy one beside it on which it is silent."""

import math

import pytest
from windows import judge, learning, window

from edgeglass_diag.records import ParameterOrigin, ParameterWrite, Severity, Site
from edgeglass_diag.rules import CATALOGUE

CHANCE = math.log(128)
STUCK = {f"|loss/{name}": lambda t: CHANCE for name in ("total", "chance", "explained")}
LOST = {f"|loss/{name}": (lambda t: CHANCE if t > 200 else 0.5 * CHANCE) for name in ("total", "explained")}
DRAWN = ParameterWrite("uniform_", "linear.py", 3, 0.1, random=True, default=True)
LOADED = ParameterWrite("load_state_dict", "model.py", 9, 0.1, default=True)
GUESS = {"cross_entropy|loss/accuracy": lambda t: 1 / 128}
PAIR = "image[:64] x text[:64]"
CONTRAST = {f"{PAIR}|embedding/alignment": lambda t: 0.5, f"{PAIR}|embedding/gap": lambda t: 0.3}
TEXT = {
    "tokens|data/samples": lambda t: 64,
    "tokens|data/padding": lambda t: 0.4,
    "tokens|data/repeated": lambda t: 0.0,
}
PICTURES = {
    "images|data/samples": lambda t: 64,
    "images|data/repeated": lambda t: 0.0,
    "images|data/std": lambda t: 1.0,
    "images|data/min": lambda t: -2.0,
    "images|data/max": lambda t: 2.5,
}
UNSEEN = {f"{PAIR}|embedding/scale": None} | {
    f"{side}[:64]|embedding/sample_signal": None for side in ("image", "text")
}


def always(value):
    return lambda t: value


def origin(name, *writes, shape=(64, 64)):
    return ParameterOrigin(name, shape, 0.1, writes)


def parameter(name, status="observed", parents=("group0",), label="64x64"):
    return Site(name, "parameter", 50, parents, label, status)


def module(path, parents=()):
    return Site(path, "module", 40, parents)


def picture(path="images"):
    return Site(path, "data", 30, (), "3x224x224 float32")


NOT_HELD = "trainable and given a gradient, but held by no optimizer that has stepped"
WITHOUT = "held by an optimizer, but without gradient"
HEAD = [module("head"), Site("head[:64]", "embedding", 60, ("head",), "image")]
SIZES = {"origins": [origin("w", DRAWN), origin("head.weight", DRAWN)]}

FAULTY = {
    "EG107": dict(more_sites=[Site("text.attn", "reshape", 41, (), "8x16x64 -> 8x4x16x16")]),
    "EG003": dict(more_sites=[parameter("head.weight", NOT_HELD)], **SIZES),
    "EG004": dict(more_sites=[module("head"), parameter("head.weight", "frozen")], **SIZES),
    "EG005": dict(more_sites=[*HEAD, parameter("head.weight", WITHOUT)], **SIZES),
    "EG006": dict(more_sites=[parameter("head.weight", WITHOUT)], **SIZES)
    | {"w|gradient/norm": always(1.0)},
    "EG007": {
        "v|weight/row_signal": always(0.9), "v|gradient/norm": always(0.0), "w|gradient/norm": always(1.0),
    },
    "EG103": {"image.attention|attention/entropy": always([0.01, 0.02]),
              "image.attention|attention/logit_std": always([300, 200])},
    "EG104": {"image.attention|attention/logit_max": always([2e4, 3e4])},
    "EG105": {**TEXT, "text.attention|attention/valid_keys": always([0.4])},
    "EG106": {"text.attention|attention/masked_queries": always([0.1]), "text|activation/nonfinite": always(4)},
    "EG201": dict(origins=[origin(n, DRAWN) for n in "wxy"])
    | {"w|gradient/norm": always(1e-9), "x|gradient/norm": always(1.0), "y|gradient/norm": always(1.0)},
    "EG204": {f"|loss/{name}": (lambda t: CHANCE + t) for name in ("total", "explained")},
    "EG205": {"w|update/ratio": always(0.0), "w|gradient/norm": always(1.0)},
    "EG206": {**STUCK, "w|update/ratio": always(1e-6)},
    "EG207": LOST,
    "EG208": dict(origins=[origin("w", DRAWN)])
    | {"|gradient/clip_factor": always(1e-6), "|gradient/norm_clipped": always(1e-7), "|gradient/norm": always(1.0),
       "group0|optimizer/beta2": always(0.999), "group0|optimizer/eps": always(1e-8)},
    "EG209": dict(more_sites=[parameter("scale", label="")])
    | {"scale|weight/norm": always(2.66), "group0|optimizer/weight_decay": always(0.2)},
    "EG210": {**STUCK, "w|weight/norm": lambda t: 8 * 0.99**t, "group0|optimizer/weight_decay": always(10.0)},
    "EG211": {"|gradient/stale": always(3.0), "|gradient/norm": lambda t: t + 1.0},
    "EG212": {**STUCK, "group0|optimizer/lr": lambda t: 1e-6 * (t + 1)},
    "EG213": {"group0|optimizer/lr": lambda t: 1e-3 if t < 200 else 0.0},
    "EG216": {**STUCK, **GUESS, "image.drop|dropout/p": always(0.9), "w|update/ratio": always(0.01)},
    "EG214": {"|gradient/cleared": always(1)},
    "EG215": {"|update/undone": lambda t: 1 - 0.5 ** (t + 1)},
    "EG303": {f"{PAIR}|embedding/scale": always(900.0), "image[:64]|embedding/norm_spread": always(0.2),
              "image[:64]|embedding/norm": always(60.0)},
    "EG304": {f"{PAIR}|embedding/gap": always(1.2)},
    "EG307": {**UNSEEN, "head|activation/sample_signal": lambda t: 0.3 if t < 9 else 1e-5},
    "EG308": {"image[:64]|embedding/norm_spread": always(0.2), "image[:64]|embedding/column_error": always(1e-7)},
    "EG404": {"cross_entropy|loss/candidates": always(1)},
    "EG405": {"cross_entropy|loss/is_probability": always(1)},
    "EG406": {**GUESS, "cross_entropy|loss/labels_diagonal": always(0.01)},
    "EG407": {f"{PAIR}|embedding/scale": always(180.0), "image[:64]|embedding/norm_spread": always(1e-7),
              "text[:64]|embedding/norm_spread": always(1e-7)},
    "EG408": {**STUCK, f"{PAIR}|embedding/scale": lambda t: max(1.0, 14.3 * 0.99**t)},
    "EG410": {f"{PAIR}|embedding/alignment": always(2.6), f"{PAIR}|embedding/gap": always(0.3)},
    "EG411": dict(more_sites=[Site("logsigmoid", "loss", 9, (), "sigmoid")])
    | {"logsigmoid|loss/weight": always(1 / 128), "logsigmoid|loss/candidates": always(128)},
    "EG412": {"cross_entropy|loss/target_gradient": always(1)},
    "EG413": dict(more_sites=[Site("logsigmoid", "loss", 9, (), "sigmoid")])
    | {"logsigmoid|loss/labels_zero": always(127 / 128), "logsigmoid|loss/labels_negative": always(0)},
    "EG501": {**PICTURES, "images|data/fingerprint": always(1.5)},
    "EG502": {**CONTRAST, **TEXT, "tokens|data/repeated": always(0.5)}
    | {"cross_entropy|loss/target_entropy": always(0.0)},
    "EG503": {**STUCK, **GUESS, "w|update/ratio": always(0.01)},
    "EG504": dict(more_sites=[picture()]) | {**PICTURES, "images|data/max": always(255.0)},
    "EG505": {**TEXT, "tokens|data/cut_texts": always(0.3)},
    "EG506": {**TEXT, "tokens|data/padding": always(0.97)},
    "EG507": {**PICTURES, "images|data/repeated": always(63 / 64)},
    "EG509": {**PICTURES, "images|data/max": always(math.nan)},
    "EG605": dict(more_sites=[Site("", "noise", 9, (), "without gradients")]) | {"|noise/unrepeated": always(1.0)},
    "EG701": {"cross_entropy#2|loss/weight": always(0.0)},
    "EG702": {"image[:64]|embedding/norm_spread": always(1e-7), "image[:64]|embedding/norm": always(1.0),
              "image[:16]|embedding/norm": always(0.5)},
    "EG802": {"|precision/float16": always(0.8), "w|gradient/norm": always(0.0)},
    "EG803": {"|optimizer/loss_scale": always(64.0), "|optimizer/skipped": lambda t: 1.0},
    "EG804": {**STUCK, "w|update/unmoved": always(0.95), "w|update/ratio": always(3e-5)},
    "EG805": {"|gradient/clipped_scaled": always(1.0), "|optimizer/loss_scale": always(2.0**16),
              "|gradient/norm_clipped": always(2.0**-16), "|gradient/norm": lambda t: 2 + math.sin(t)},
}  # fmt: skip

HEALTHY = {
    "EG107": dict(more_sites=[Site("text.attn", "attention", 41, ("text",))]),
    "EG003": dict(
        more_sites=[parameter("head.weight", "trainable, but held by no optimizer that has stepped")], **SIZES
    ),
    "EG004": dict(
        more_sites=[module("head"), parameter("head.weight", "frozen")], origins=[origin("head.weight", DRAWN, LOADED)]
    ),
    "EG005": dict(more_sites=[*HEAD, parameter("head.mask_token", WITHOUT)])
    | {"head.weight|gradient/norm": always(1.0)},
    "EG006": dict(more_sites=[parameter("head.mask_token", WITHOUT)], **SIZES)
    | {"head.weight|gradient/norm": always(1.0)},
    "EG007": {"w|gradient/norm": lambda t: 0.0 if t == 0 else 1.0},
    "EG103": {"image.attention|attention/entropy": lambda t: [max(0.02, 0.99 - t / 100)],
              "image.attention|attention/logit_std": always([300])},
    "EG104": {"image.attention|attention/logit_max": always([200.0])},
    "EG105": {**TEXT, "text.attention|attention/valid_keys": always([0.6])},
    "EG106": {"text.attention|attention/masked_queries": always([0.0]), "text|activation/nonfinite": always(4)},
    "EG201": dict(origins=[origin(n, DRAWN) for n in "wxy"]) | {f"{n}|gradient/norm": always(1e-9) for n in "wxy"},
    "EG204": {"|loss/total": lambda t: 1.4 * CHANCE * 0.99**t, "|loss/explained": lambda t: 1.4 * CHANCE * 0.99**t},
    "EG205": {"w|update/ratio": lambda t: 0.0 if t == 0 else 1e-3, "w|gradient/norm": always(1.0)},
    "EG206": {"w|update/ratio": always(1e-6)},
    "EG207": {},
    "EG208": dict(origins=[origin("w", DRAWN)])
    | {"|gradient/clip_factor": always(1e-2), "|gradient/norm_clipped": always(1.0), "|gradient/norm": always(100.0),
       "group0|optimizer/beta2": always(0.999), "group0|optimizer/eps": always(1e-8)},
    "EG209": dict(more_sites=[parameter("scale", label="")])
    | {"scale|weight/norm": always(2.66), "group0|optimizer/weight_decay": always(0.01)},
    "EG210": {**STUCK, "w|weight/norm": lambda t: 8 * 0.99**t, "group0|optimizer/weight_decay": always(0.01)},
    "EG211": {"|gradient/stale": always(0.0), "|gradient/norm": lambda t: t + 1.0},
    "EG212": {"group0|optimizer/lr": lambda t: 1e-6 * (t + 1)},
    "EG213": {"group0|optimizer/lr": lambda t: 1e-3 * 0.5 * (1 + math.cos(math.pi * t / 397))},
    "EG216": {"image.drop|dropout/p": always(0.9)},
    "EG214": {"|gradient/cleared": lambda t: float(t % 3 == 0)},
    "EG215": {"|update/undone": lambda t: 0.5 if t % 6 == 5 else 0.0},
    "EG303": {f"{PAIR}|embedding/scale": always(30.0), "image[:64]|embedding/norm_spread": always(0.2),
              "image[:64]|embedding/norm": always(3.0)},
    "EG304": {f"{PAIR}|embedding/gap": always(0.82)},
    "EG307": {**UNSEEN, "head|activation/sample_signal": always(1e-4)},
    "EG308": {"image[:64]|embedding/norm_spread": always(0.2), "image[:64]|embedding/column_error": always(10.3)},
    "EG404": {"cross_entropy|loss/candidates": lambda t: 128 if t < 9 else 0},
    "EG405": {"cross_entropy|loss/is_probability": always(0)},
    "EG406": {"cross_entropy|loss/labels_diagonal": always(0.01), "cross_entropy|loss/accuracy": always(0.3)},
    "EG407": {f"{PAIR}|embedding/scale": always(100.0), "image[:64]|embedding/norm_spread": always(1e-7),
              "text[:64]|embedding/norm_spread": always(1e-7)},
    "EG408": {f"{PAIR}|embedding/scale": lambda t: max(5.0, 14.3 * 0.99**t)},
    "EG410": {f"{PAIR}|embedding/alignment": always(1.2), f"{PAIR}|embedding/gap": always(0.9),
              "image[:64]|embedding/sample_signal": always(0.5)},
    "EG411": dict(more_sites=[Site("logsigmoid", "loss", 9, (), "sigmoid")])
    | {"logsigmoid|loss/weight": always(1.0), "logsigmoid|loss/candidates": always(128)},
    "EG412": {"cross_entropy|loss/target_gradient": always(0)},
    "EG413": dict(more_sites=[Site("logsigmoid", "loss", 9, (), "sigmoid")])
    | {"logsigmoid|loss/labels_zero": always(0.9), "logsigmoid|loss/labels_negative": always(0.09)},
    "EG501": {**PICTURES, "images|data/fingerprint": lambda t: t / 7},
    "EG502": {**CONTRAST, **TEXT, "tokens|data/repeated": always(0.12), "mask|data/repeated": always(0.9)},
    "EG503": {**STUCK, "cross_entropy|loss/accuracy": always(4 / 128), "w|update/ratio": always(0.01)},
    "EG504": dict(more_sites=[picture()])
    | {**PICTURES, "images|data/min": always(0.0), "images|data/max": always(1.0)},
    "EG505": {**TEXT, "tokens|data/cut_texts": lambda t: math.nan if t % 2 else 0.0},
    "EG506": TEXT,
    "EG507": {**TEXT, "positions|data/repeated": always(63 / 64), "positions|data/samples": always(64)},
    "EG509": {**PICTURES, "images|data/min": always(-math.inf)},
    "EG605": dict(more_sites=[Site("", "mode", 9)]),
    "EG701": {"cross_entropy#2|loss/weight": always(0.3)},
    "EG702": {"image[:64]|embedding/norm_spread": always(1e-7), "image[:64]|embedding/norm": always(14.3),
              "image[:16]|embedding/norm": always(14.3)},
    "EG802": {"|precision/float16": always(0.8), "w|gradient/norm": always(0.0), "|optimizer/loss_scale": always(64.0)},
    "EG803": {"|optimizer/loss_scale": always(64.0)},
    "EG804": {**STUCK, "w|update/unmoved": always(0.9), "w|update/ratio": always(6e-4)},
    "EG805": {"|gradient/clipped_scaled": always(1.0), "|optimizer/loss_scale": always(2.0**16),
              "|gradient/norm_clipped": lambda t: (2 + math.sin(t)) / 8, "|gradient/norm": lambda t: 2 + math.sin(t)},
}  # fmt: skip

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
    "EG001", "EG002", "EG050", "EG051", "EG052", "EG053", "EG101", "EG102", "EG202", "EG203", "EG301", "EG302",
    "EG401", "EG402", "EG403", "EG601", "EG801",
}  # fmt: skip


def codes(case):
    _, engine = judge(learning(**case))
    engine.end()
    assert engine.failures == {}
    return {finding.code: finding for finding in engine.findings}


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
    assert {rule.code for rule in CATALOGUE} == set(FAULTY) | set(METRICS) | ELSEWHERE


def test_a_rule_that_fails_leaves_the_others_alone():
    class Broken(CATALOGUE[0]):
        code = "XX001"

        def check(self, history):
            raise ZeroDivisionError("by zero")

    from edgeglass_diag.rules import Engine

    engine = Engine([Broken(), *(rule() for rule in CATALOGUE)])
    for item in learning(**FAULTY["EG405"]):
        engine.feed(item)
    assert engine.failures == {"XX001": "ZeroDivisionError: by zero"}
    assert "EG405" in {finding.code for finding in engine.findings}


def test_a_momentum_encoder_is_frozen_and_well():
    assert "EG004" not in codes({**FAULTY["EG004"], "head.weight|weight/written": lambda t: float(t > 0)})


def test_a_fact_is_the_cause_of_no_fault():
    kept = dict(more_sites=[parameter("head.weight", NOT_HELD)], origins=[origin("head.weight", DRAWN, LOADED)])
    found = codes({**kept, **STUCK, **GUESS, "cross_entropy|loss/logit_std": always(0.01)})
    assert found["EG003"].severity == Severity.INFO
    assert found["EG401"].because_of != "EG003"


def test_a_warm_up_is_judged_at_the_end_only():
    _, engine = judge(learning(**FAULTY["EG212"]))
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
        module("image", ("image.proj",)), module("image.attn"), module("image.proj", ("image.attn",)),
        Site("image.proj[:64]", "embedding", 60, ("image.proj",), "image"), *(parameter(n, WITHOUT) for n in names),
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
    lost = {**STUCK, "w|update/unmoved": always(0.95), "w|update/ratio": always(3e-5)}
    assert "EG804" in codes({**lost, "group0|optimizer/lr": always(1e-5)})
    assert "EG804" not in codes({**lost, "group0|optimizer/lr": lambda t: 1e-7 * 1.05**t})


def test_dropout_of_a_half_is_usual():
    half = {**STUCK, **GUESS, "image.drop|dropout/p": always(0.5), "w|update/ratio": always(0.01)}
    assert "EG216" not in codes(half)
    assert codes({**half, "image.drop|dropout/p": always(0.9)})["EG401"].because_of == "EG216"
