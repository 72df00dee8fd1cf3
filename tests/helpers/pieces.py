"""What the histories of the rules' tests are put together from."""

import math

from edgeglass_diag.records import ParameterOrigin, ParameterWrite
from edgeglass_diag.sites import Coverage, LossFunction, LossSite, Task
from tests.helpers.windows import IMAGE, PRODUCT, batch, embedding, judge, learning, module

CHANCE = math.log(128)
STUCK = {f"|loss/{name}": lambda t: CHANCE for name in ("total", "chance", "explained")}
LOST = {f"|loss/{name}": (lambda t: CHANCE if t > 200 else 0.5 * CHANCE) for name in ("total", "explained")}
DRAWN = ParameterWrite("uniform_", "linear.py", 3, 0.1, random=True, default=True)
LOADED = ParameterWrite("load_state_dict", "model.py", 9, 0.1, default=True)
GUESS = {"cross_entropy|loss/accuracy": lambda t: 1 / 128}
PAIR = PRODUCT.path
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


def picture(path="images"):
    return batch(path, (3, 224, 224), "float32")


def head_loss(path):
    """A cross-entropy over the classes of a head."""
    return LossSite(path=path, order=9, function=LossFunction.CROSS_ENTROPY, task=Task.CLASSIFICATION)


def sigmoid(path):
    return LossSite(path=path, order=9, function=LossFunction.LOGSIGMOID)


NOT_HELD = Coverage.NOT_HELD_WITH_GRADIENT
WITHOUT = Coverage.HELD_WITHOUT_GRADIENT
HEAD = [module("head"), embedding("head", 64, IMAGE.side)]
SIZES = {"origins": [origin("w", DRAWN), origin("head.weight", DRAWN)]}


def codes(case):
    _, engine = judge(learning(**case))
    engine.end()
    assert engine.failures == {}
    return {finding.code: finding for finding in engine.findings}
