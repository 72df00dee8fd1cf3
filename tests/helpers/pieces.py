"""What the histories of the rules' tests are put together from."""

import math

from edgeglass_diag.records import ParameterOrigin, ParameterWrite, Site
from tests.helpers.windows import judge, learning

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


def codes(case):
    _, engine = judge(learning(**case))
    engine.end()
    assert engine.failures == {}
    return {finding.code: finding for finding in engine.findings}
