"""For each rule a faulty history that it names, and a healthy one beside it."""

import math

from edgeglass_diag.sites import AttentionSite, Coverage, DropoutPlace, DropoutSite, ReshapeSite
from tests.helpers.pieces import (
    CHANCE,
    CONTRAST,
    DRAWN,
    GUESS,
    HEAD,
    LOADED,
    LOST,
    NOT_HELD,
    PAIR,
    PICTURES,
    SIZES,
    STUCK,
    TEXT,
    UNSEEN,
    WITHOUT,
    always,
    head_loss,
    origin,
    picture,
    sigmoid,
)
from tests.helpers.windows import module, parameter

FAULTY = {
    "EG107": dict(more_sites=[ReshapeSite(path="text.attn", before=(8, 16, 64), after=(8, 4, 16, 16))]),
    "EG003": dict(more_sites=[parameter("head.weight", coverage=NOT_HELD)], **SIZES),
    "EG004": dict(more_sites=[module("head"), parameter("head.weight", coverage=Coverage.FROZEN)], **SIZES),
    "EG005": dict(more_sites=[*HEAD, parameter("head.weight", coverage=WITHOUT)], **SIZES),
    "EG006": dict(more_sites=[parameter("head.weight", coverage=WITHOUT)], **SIZES)
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
    "EG209": dict(more_sites=[parameter("scale", ())])
    | {"scale|weight/norm": always(2.66), "group0|optimizer/weight_decay": always(0.2)},
    "EG210": {**STUCK, "w|weight/norm": lambda t: 8 * 0.99**t, "group0|optimizer/weight_decay": always(10.0)},
    "EG211": {"|gradient/uncleared": always(3.0), "|gradient/norm": lambda t: t + 1.0},
    "EG212": {**STUCK, "group0|optimizer/lr": lambda t: 1e-6 * (t + 1)},
    "EG213": {"group0|optimizer/lr": lambda t: 1e-3 if t < 200 else 0.0},
    "EG216": {**STUCK, **GUESS, "image.drop|dropout/p": always(0.9), "w|update/ratio": always(0.01)},
    "EG214": {"|gradient/cleared": always(1)},
    "EG217": {"|gradient/dropped": lambda t: 1.0 if t % 2 else 0.5},
    "EG215": {"|update/reverted": lambda t: 1 - 0.5 ** (t + 1)},
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
    "EG411": dict(more_sites=[sigmoid("logsigmoid")])
    | {"logsigmoid|loss/weight": always(1 / 128), "logsigmoid|loss/candidates": always(128),
       "logsigmoid|loss/labels_diagonal": always(1.0)},
    "EG412": {"cross_entropy|loss/target_gradient": always(1)},
    "EG413": dict(more_sites=[sigmoid("logsigmoid")])
    | {"logsigmoid|loss/labels_zero": always(127 / 128), "logsigmoid|loss/labels_negative": always(0)},
    "EG414": dict(more_sites=[head_loss("cross_entropy#1")])
    | {"cross_entropy#1|loss/level": always(0.6365), "cross_entropy#1|loss/largest_label": always(2 / 3),
       "cross_entropy#1|loss/weight": always(1.0), "cross_entropy#1|loss/part": always(0.64),
       "cross_entropy#1|loss/rows": always(96), "cross_entropy#1|loss/accuracy": always(2 / 3),
       "cross_entropy#1|loss/value": always(0.6366), "w|update/ratio": always(0.01)},
    "EG415": dict(more_sites=[head_loss("cross_entropy#1")])
    | {"cross_entropy#1|loss/excess_mass": always(1.8), "cross_entropy#1|loss/part": always(0.3)},
    "EG416": dict(more_sites=[head_loss("cross_entropy#1")])
    | {"cross_entropy#1|loss/value": always(-0.8), "cross_entropy#1|loss/part": always(0.3)},
    "EG417": {"cross_entropy#1|loss/value": always(0.25), "cross_entropy#1|loss/part": always(0.3)},
    "EG501": {**PICTURES, "images|data/fingerprint": always(1.5)},
    "EG502": {**CONTRAST, **TEXT, "tokens|data/repeated": always(0.5), "tokens|data/copy_floor": always(0.69)}
    | {"cross_entropy|loss/target_entropy": always(0.0)},
    "EG503": {**STUCK, **GUESS, "w|update/ratio": always(0.01)},
    "EG504": dict(more_sites=[picture()]) | {**PICTURES, "images|data/max": always(255.0)},
    "EG505": {**TEXT, "tokens|data/cut_texts": always(0.3)},
    "EG506": {**TEXT, "tokens|data/padding": always(0.97)},
    "EG507": {**PICTURES, "images|data/repeated": always(63 / 64)},
    "EG509": {**PICTURES, "images|data/max": always(math.nan)},
    "EG605": dict(more_sites=[DropoutSite(path="", place=DropoutPlace.EVALUATION)])
    | {"|noise/unrepeated": always(1.0)},
    "EG701": {"cross_entropy#2|loss/weight": always(0.0)},
    "EG702": {"image[:64]|embedding/norm_spread": always(1e-7), "image[:64]|embedding/norm": always(1.0),
              "image[:16]|embedding/norm": always(0.5)},
    "EG802": {"|precision/float16": always(0.8), "w|gradient/norm": always(0.0)},
    "EG803": {"|optimizer/loss_scale": always(64.0), "|optimizer/skipped": lambda t: 1.0},
    "EG804": {**STUCK, "w|update/rounded_away": always(0.95), "w|update/ratio": always(3e-5)},
    "EG806": {"|gradient/made_finite": lambda t: float(t % 7 == 1)},
    "EG805": {"|gradient/clipped_scaled": always(1.0), "|optimizer/loss_scale": always(2.0**16),
              "|gradient/norm_clipped": always(2.0**-16), "|gradient/norm": lambda t: 2 + math.sin(t)},
}  # fmt: skip
HEALTHY = {
    "EG107": dict(more_sites=[AttentionSite(path="text.attn", module="text")]),
    "EG003": dict(
        more_sites=[parameter("head.weight", coverage=Coverage.NOT_HELD)], **SIZES
    ),
    "EG004": dict(
        more_sites=[module("head"), parameter("head.weight", coverage=Coverage.FROZEN)],
        origins=[origin("head.weight", DRAWN, LOADED)],
    ),
    "EG005": dict(more_sites=[*HEAD, parameter("head.mask_token", coverage=WITHOUT)])
    | {"head.weight|gradient/norm": always(1.0)},
    "EG006": dict(more_sites=[parameter("head.mask_token", coverage=WITHOUT)], **SIZES)
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
    "EG209": dict(more_sites=[parameter("scale", ())])
    | {"scale|weight/norm": always(2.66), "group0|optimizer/weight_decay": always(0.01)},
    "EG210": {**STUCK, "w|weight/norm": lambda t: 8 * 0.99**t, "group0|optimizer/weight_decay": always(0.01)},
    "EG211": {"|gradient/uncleared": always(0.0), "|gradient/norm": lambda t: t + 1.0},
    "EG212": {"group0|optimizer/lr": lambda t: 1e-6 * (t + 1)},
    "EG213": {"group0|optimizer/lr": lambda t: 1e-3 * 0.5 * (1 + math.cos(math.pi * t / 397))},
    "EG216": {"image.drop|dropout/p": always(0.9)},
    "EG214": {"|gradient/cleared": lambda t: float(t % 3 == 0)},
    "EG217": {"|gradient/dropped": lambda t: float(t % 3 > 0)},
    "EG215": {"|update/reverted": lambda t: 0.5 if t % 6 == 5 else 0.0},
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
    "EG411": dict(more_sites=[sigmoid("logsigmoid")])
    | {"logsigmoid|loss/weight": always(1.0), "logsigmoid|loss/candidates": always(128),
       "logsigmoid|loss/labels_diagonal": always(1.0)},
    "EG412": {"cross_entropy|loss/target_gradient": always(0)},
    "EG413": dict(more_sites=[sigmoid("logsigmoid")])
    | {"logsigmoid|loss/labels_zero": always(0.9), "logsigmoid|loss/labels_negative": always(0.09)},
    "EG414": dict(more_sites=[head_loss("cross_entropy#1")])
    | {"cross_entropy#1|loss/level": always(0.6365), "cross_entropy#1|loss/largest_label": always(2 / 3),
       "cross_entropy#1|loss/weight": always(1.0), "cross_entropy#1|loss/part": always(0.64),
       "cross_entropy#1|loss/rows": always(96), "cross_entropy#1|loss/accuracy": always(0.9),
       "cross_entropy#1|loss/value": lambda t: 0.6365 * 0.98**t, "w|update/ratio": always(0.01)},
    "EG415": dict(more_sites=[head_loss("cross_entropy#1")])
    | {"cross_entropy#1|loss/excess_mass": always(1e-3), "cross_entropy#1|loss/part": always(0.3)},
    "EG416": dict(more_sites=[head_loss("cross_entropy#1")])
    | {"cross_entropy#1|loss/value": always(-1e-6), "cross_entropy#1|loss/part": always(0.3)},
    "EG502": {**CONTRAST, **TEXT, "tokens|data/copy_floor": always(0.12), "mask|data/copy_floor": always(0.9)}
    | {"tokens|data/repeated": always(0.12), "mask|data/repeated": always(0.9)},
    "EG501": {**PICTURES, "images|data/fingerprint": lambda t: t / 7},
    "EG502": {**CONTRAST, **TEXT, "tokens|data/copy_floor": always(0.12), "mask|data/copy_floor": always(0.9)},
    "EG503": {**STUCK, "cross_entropy|loss/accuracy": always(4 / 128), "w|update/ratio": always(0.01)},
    "EG504": dict(more_sites=[picture()])
    | {**PICTURES, "images|data/min": always(0.0), "images|data/max": always(1.0)},
    "EG505": {**TEXT, "tokens|data/cut_texts": lambda t: math.nan if t % 2 else 0.0},
    "EG506": TEXT,
    "EG507": {**TEXT, "positions|data/repeated": always(63 / 64), "positions|data/samples": always(64)},
    "EG509": {**PICTURES, "images|data/min": always(-math.inf)},
    "EG605": dict(more_sites=[module("", 9)]),
    "EG701": {"cross_entropy#2|loss/weight": always(0.3)},
    "EG702": {"image[:64]|embedding/norm_spread": always(1e-7), "image[:64]|embedding/norm": always(14.3),
              "image[:16]|embedding/norm": always(14.3)},
    "EG802": {"|precision/float16": always(0.8), "w|gradient/norm": always(0.0), "|optimizer/loss_scale": always(64.0)},
    "EG803": {"|optimizer/loss_scale": always(64.0)},
    "EG804": {**STUCK, "w|update/rounded_away": always(0.9), "w|update/ratio": always(6e-4)},
    "EG806": {"|gradient/made_finite": lambda t: float(t % 15 == 1)},
    "EG805": {"|gradient/clipped_scaled": always(1.0), "|optimizer/loss_scale": always(2.0**16),
              "|gradient/norm_clipped": lambda t: (2 + math.sin(t)) / 8, "|gradient/norm": lambda t: 2 + math.sin(t)},
}  # fmt: skip
