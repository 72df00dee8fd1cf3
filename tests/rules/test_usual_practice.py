"""What healthy trainings of other people do, beside the fault that it resembles: the rule must tell them apart."""

import math

import pytest

from edgeglass_diag.records import ParameterWrite, Severity
from edgeglass_diag.sites import Coverage, DropoutPlace, DropoutSite
from tests.helpers.pieces import (
    CHANCE,
    CONTRAST,
    DRAWN,
    GUESS,
    PAIR,
    PICTURES,
    STUCK,
    TEXT,
    always,
    codes,
    origin,
    picture,
    sigmoid,
)
from tests.helpers.windows import batch, module, parameter  # fmt: skip

SIGMOID = sigmoid("bce")
ROW = batch("sizes", (2,), "float32")
DOT = {
    f"{PAIR}|embedding/scale": always(256.0),
    **{f"{side}[:64]|embedding/norm": always(16.0) for side in ("image", "text")},
}
PROMPTS = {**PICTURES, "images|data/fingerprint": lambda t: t / 7, **TEXT, "tokens|data/fingerprint": always(1.5)}
SIZES = {
    **PICTURES,
    "sizes|data/samples": always(64),
    "sizes|data/repeated": always(63 / 64),
    "sizes|data/std": always(0.0),
}
COPIES = {**TEXT, "tokens|data/repeated": always(0.7), "tokens|data/copy_floor": always(1.2)}
LONG = {**DOT, **{f"{side}[:64]|embedding/norm_spread": always(1e-7) for side in ("image", "text")}}
TEACHER = DropoutSite(path="teacher", place=DropoutPlace.FROZEN_ENCODER)
EVALUATED = DropoutSite(path="", place=DropoutPlace.EVALUATION)
SEEN = "text.attention|attention"
DRAWN_COPY, LOADED_COPY = (ParameterWrite("copy_", "train.py", 5, 0.1, random=random) for random in (True, False))
FROZEN_HEAD = [module("head"), parameter("head.weight", coverage=Coverage.FROZEN)]
WAITS = {"v|weight/row_signal": always(0.9), "v|gradient/norm": always(0.0), "w|gradient/norm": always(1.0)}
LEVELS = {"|loss/chance": lambda t: math.log(4) if t < 60 else CHANCE}


def loss(value):
    return {"|loss/total": value, "|loss/explained": value}


RAW = {
    **PICTURES, "images|data/min": always(0.0), "images|data/max": always(255.0), "images|data/mean": always(110.0),
    "images|data/std": always(60.0), "conv|data/layer_absmax": always(255.0),
}  # fmt: skip
NORMALISED = dict(more_sites=[picture(), module("conv"), module("bn", parents=("conv",))]) | {
    **RAW, "bn|batchnorm/samples": always(64), "bn|mode/training": always(1.0),
}  # fmt: skip
SHRINKING = {
    f"{PAIR}|embedding/scale": lambda t: 1.0 + 10 * 0.9**t, "image[:64]|embedding/norm_spread": always(0.2),
    "image[:64]|embedding/norm": always(0.6),
}  # fmt: skip
EMPTIED = {**STUCK, "w|weight/norm": lambda t: 8 * 0.99**t, "group0|optimizer/weight_decay": always(10.0)}
TAGS = dict(more_sites=[SIGMOID]) | {
    "bce|loss/weight": always(1 / 128), "bce|loss/candidates": always(128), "bce|loss/accuracy": always(0.3),
    "bce|loss/target_entropy": always(0.0),
}  # fmt: skip
EVEN = {"group0|optimizer/lr": lambda t: 1e-3 * 0.5 * (1 + math.cos(math.pi * t / 300))}


def cycles(share):
    """Two cycles of 200 steps that rise over a share of each, from a 25th of the peak, and fall to nothing."""

    def rate(step):
        part = (step % 200) / 200
        if part < share:
            return 1e-3 * (0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * part / share)))
        return 1e-3 * 0.5 * (1 + math.cos(math.pi * (part - share) / (1 - share)))

    return {"group0|optimizer/lr": rate}


PRACTICE = {
    "a matching head or discriminator of one logit": (
        "EG404",
        dict(more_sites=[SIGMOID]) | {"bce|loss/candidates": always(1)},
        {"cross_entropy#1|loss/candidates": always(1)},
    ),
    "shuffled candidates, before anything is learned": (
        "EG406",
        {
            "cross_entropy|loss/labels_diagonal": always(0.03),
            "cross_entropy|loss/accuracy": lambda t: 1 / 128 if t < 15 else 0.2,
        },
        {**GUESS, "cross_entropy|loss/labels_diagonal": always(0.03)},
    ),
    "as many classes as samples": (
        "EG410",
        {
            f"{PAIR}|embedding/alignment": always(2.6),
            f"{PAIR}|embedding/gap": always(0.3),
            "cross_entropy|loss/labels_diagonal": always(0.03),
        },
        {
            f"{PAIR}|embedding/alignment": always(2.6),
            f"{PAIR}|embedding/gap": always(0.3),
            "cross_entropy|loss/labels_diagonal": always(1.0),
        },
    ),
    "a captioner that learns first": (
        "EG410",
        {
            f"{PAIR}|embedding/alignment": always(2.2),
            f"{PAIR}|embedding/gap": always(0.3),
            **GUESS,
            "cross_entropy|loss/labels_diagonal": always(1.0),
            "cross_entropy#1|loss/accuracy": always(0.4),
            "cross_entropy#1|loss/candidates": always(8000),
        },
        None,
    ),
    "a second stage with more candidates": (
        "EG204",
        {**LEVELS, **loss(lambda t: 0.5 if t < 60 else 3.0)},
        loss(lambda t: 0.5 if t < 60 else 2 * CHANCE),
    ),
    "a penalty that is faded in": ("EG204", {"|loss/total": lambda t: 4.0 + t / 10}, loss(lambda t: 4.0 + t / 10)),
    "a second cycle that warms up": (
        "EG203",
        cycles(0.3),
        EVEN,
    ),
    "a mean over the labels of a tagging head": (
        "EG411",
        {**TAGS, "bce|loss/labels_diagonal": always(0.02)},
        {**TAGS, "bce|loss/labels_diagonal": always(1.0)},
    ),
    "tags of which a row has many, but for one row": (
        "EG411",
        {**TAGS, "bce|loss/labels_diagonal": always(1.0), "bce|loss/target_entropy": always(math.log(5))},
        {**TAGS, "bce|loss/labels_diagonal": always(1.0)},
    ),
    "two equal stages of OneCycle": (
        "EG203",
        {**EVEN, "group0|optimizer/beta1": lambda t: 0.85 + 100 * EVEN["group0|optimizer/lr"](t)},
        {**EVEN, "group0|optimizer/beta1": lambda t: min(0.9, 0.8 + t / 100)},  # warmed up, long ago
    ),
    "dot products of LayerNorm outputs, of one length": (
        "EG407",
        {**DOT, **{f"{side}[:64]|embedding/norm_spread": always(1e-7) for side in ("image", "text")}},
        {**DOT, **STUCK, **{f"{side}[:64]|embedding/norm_spread": always(1e-7) for side in ("image", "text")}},
    ),
    "dot products of LayerNorm outputs with gains": (
        "EG303",
        {**DOT, "image[:64]|embedding/norm_spread": always(0.03)},
        {**DOT, f"{PAIR}|embedding/scale": always(256 * 14.3), "image[:64]|embedding/norm_spread": always(0.03)},
    ),
    "plain dot products that begin small, and learn": (
        "EG403",
        {f"{PAIR}|embedding/scale": lambda t: 1.0 + t / 50, "image[:64]|embedding/norm_spread": always(0.2)},
        {f"{PAIR}|embedding/scale": always(1.0), "image[:64]|embedding/norm_spread": always(1e-7)},
    ),
    "plain dot products that stay small, and learn": ("EG303", SHRINKING, {**SHRINKING, **STUCK}),
    "prompts of all classes": (
        "EG501",
        {**PROMPTS, "cross_entropy|loss/labels_diagonal": always(0.03)},
        {**PROMPTS, "cross_entropy|loss/labels_diagonal": always(1.0)},
    ),
    "a momentum teacher with dropout": (
        "EG605",
        dict(more_sites=[TEACHER]) | {"teacher|noise/weights": lambda t: 1.0 + 1e-6 * t},
        dict(more_sites=[TEACHER]) | {"teacher|noise/weights": always(1.0)},
    ),
    "gradient caching with dropout": (
        "EG605",
        dict(more_sites=[EVALUATED]) | {"|noise/unrepeated": always(0.0)},
        dict(more_sites=[EVALUATED]) | {"|noise/unrepeated": always(1.0)},
    ),
    "a causal text tower, half of its context padding": (
        "EG105",
        {**TEXT, f"{SEEN}/valid_keys": always([0.4]), f"{SEEN}/padding_mass": always([0.0])},
        {**TEXT, f"{SEEN}/valid_keys": always([0.4]), f"{SEEN}/padding_mass": always([0.6])},
    ),
    "pixels that the model normalises itself": (
        "EG504",
        dict(more_sites=[picture()])
        | {**PICTURES, "images|data/max": always(255.0), "conv|data/layer_absmax": always(2.6)},
        dict(more_sites=[picture()])
        | {**PICTURES, "images|data/max": always(255.0), "conv|data/layer_absmax": always(255.0)},
    ),
    "a probe whose decay keeps it small and that answers well": (
        "EG210",
        {**EMPTIED, "cross_entropy|loss/accuracy": always(0.95)},
        {**EMPTIED, **GUESS},
    ),
    "weights that were loaded by hand": (
        "EG004",
        dict(more_sites=FROZEN_HEAD, origins=[origin("head.weight", DRAWN, LOADED_COPY)]),
        dict(more_sites=FROZEN_HEAD, origins=[origin("w", DRAWN), origin("head.weight", DRAWN, DRAWN_COPY)]),
    ),
    "long dot products that become less sure": (
        "EG407",
        {**LONG, **loss(lambda t: CHANCE * (1.7 if t < 4 else 1.05))},
        {**LONG, **loss(always(1.7 * CHANCE))},
    ),
    "targets that give copies their part": (
        "EG502",
        {**CONTRAST, **COPIES, "cross_entropy|loss/target_entropy": always(1.1)},
        {**CONTRAST, **COPIES, "cross_entropy|loss/target_entropy": always(0.0)},
    ),
}


@pytest.mark.parametrize("practice", PRACTICE)
def test_usual_practice_is_silent_and_the_fault_beside_it_is_not(practice):
    code, healthy, faulty = PRACTICE[practice]
    assert code not in codes(healthy)
    assert faulty is None or code in codes(faulty)


@pytest.mark.parametrize(
    ("code", "case"),
    [
        ("EG007", {**WAITS, "bce|loss/weight": always(0.0)}),
        ("EG701", {"cross_entropy#2|loss/weight": lambda t: max(0.0, t - 300)}),
        ("EG502", {**CONTRAST, **COPIES}),
        ("EG203", {"group0|optimizer/lr": lambda t: 1e-3 * 0.5 * (1 + math.cos(math.pi * t / 100))}),
        ("EG504", NORMALISED),
        ("EG507", dict(more_sites=[ROW]) | SIZES),
        (
            "EG507",
            dict(more_sites=[batch("q.prompt", (6,), module="q")])
            | {**TEXT, "q.prompt|data/samples": always(64), "q.prompt|data/repeated": always(63 / 64)}
            | {"q.prompt|data/padding": always(0.1)},
        ),
    ],
    ids=[
        "a term that waits",
        "a term that is faded in late",
        "copies, and targets that are not seen",
        "a cosine that goes up and down",
        "pixels to 255 whose scale BatchNorm takes out",
        "sizes beside images",
        "an instruction beside texts",
    ],
)
def test_what_may_be_meant_is_a_fact(code, case):
    assert codes(case)[code].severity == Severity.INFO


@pytest.mark.parametrize(
    "case",
    [
        dict(NORMALISED, more_sites=[picture(), module("conv"), module("relu", parents=("conv",))]),
        NORMALISED | {"images|data/mean": always(-209.0), "images|data/std": always(7.0)},
    ],
    ids=["no BatchNorm behind the layer", "a mean far from 0"],
)
def test_images_out_of_range_that_batch_norm_does_not_mend_are_a_fault(case):
    assert codes(case)["EG504"].severity == Severity.WARNING


def test_a_rate_that_only_rises_past_its_horizon_is_a_fault():
    overrun = {"group0|optimizer/lr": lambda t: 1e-3 * 0.5 * (1 + math.cos(math.pi * t / 300))}
    assert codes(overrun)["EG203"].severity == Severity.WARNING
