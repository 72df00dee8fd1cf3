"""Logs for the tests of the audit: the published numbers, and healthy histories drawn."""

import math

from hypothesis import strategies as st

PUBLISHED = {
    "source": "numbers of a public report",
    "baseline": {
        "config": {"batch_size": 128, "lr": 2e-4, "clip_weight": 0.25, "mrl_weight": 1.0, "epochs": 10},
        "report": {"train_loss": 1.12, "val_loss": 0.0, "i2t_R@1": 0.523, "i2t_R@5": 0.785},
        "history": {
            "train_loss": 1.11396173216881, "train_loss_clip": 0.8982968374129829, "train_loss_mrl": 0.8893875222687327,
            "val_loss": 0.7646021544933319, "val_loss_clip": 0.6110375821590424, "val_loss_mrl": 0.6118427539865176,
            "i2t_R@1": 0.5686997175216675, "i2t_R@5": 0.8190348744392395, "i2t_R@10": 0.8917560577392578,
        },
        "summary_row": {"best_val_loss": 0.0, "final_val_loss": 0.7646021544933319},
        "lr_of_the_last_epoch": {
            "steps": 109, "first": 5.127803374249673e-10, "second": 2.0511160908509575e-09,
            "last": 6.030737921409157e-06,
        },
    },
    "perceiver": {
        "config": {"batch_size": 64, "lr": 2e-3, "clip_weight": 0.25, "mrl_weight": 1.0, "epochs": 10},
        "report": {"train_loss": 6.06, "val_loss": 6.00, "i2t_R@1": 0.0003, "i2t_R@5": 0.0017},
        "history": {
            "train_loss": 6.060152666284404, "train_loss_clip": 4.848122133027523, "train_loss_mrl": 4.848122133027523,
            "val_loss": 6.00445693731308, "val_loss_clip": 4.803565601507823, "val_loss_mrl": 4.803565621376038,
            "i2t_R@1": 0.0003351206541992724, "i2t_R@5": 0.001675603212788701, "i2t_R@10": 0.003351206425577402,
        },
        "lr_of_the_last_epoch": {"steps": 108, "first": 2.360179695942254e-05, "last": 4.9999999999999955e-05},
    },
}  # fmt: skip


OURS = [
    {
        "step": 61,
        "train/loss": 0.456685471534729,
        "val/loss": 0.4593432694673538,
        "val/clip": 0.3104608803987503,
        "val/mrl": 0.38172803819179535,
    },
    {
        "step": 123,
        "train/loss": 0.4302541553974152,
        "val/loss": 0.41956134140491486,
        "val/clip": 0.296544149518013,
        "val/mrl": 0.3454253003001213,
    },
    {
        "step": 185,
        "train/loss": 0.38979614675045016,
        "val/loss": 0.40279948711395264,
        "val/clip": 0.2871517241001129,
        "val/mrl": 0.331011563539505,
    },
    {
        "step": 247,
        "train/loss": 0.4016493588685989,
        "val/loss": 0.3960542231798172,
        "val/clip": 0.28432273119688034,
        "val/mrl": 0.32497354596853256,
    },
    {
        "step": 309,
        "train/loss": 0.38271125555038454,
        "val/loss": 0.3930957093834877,
        "val/clip": 0.282606765627861,
        "val/mrl": 0.32244402915239334,
    },
    {
        "step": 371,
        "train/loss": 0.38633700311183927,
        "val/loss": 0.392220601439476,
        "val/clip": 0.28205978125333786,
        "val/mrl": 0.3217056468129158,
    },
    {
        "step": 371,
        "train/loss": 0.38633700311183927,
        "i2t/R@1": 0.839,
        "i2t/R@5": 0.99,
        "i2t/R@10": 1.0,
        "t2i/R@1": 0.802,
        "t2i/R@5": 0.978,
        "t2i/R@10": 0.997,
        "n": 1000,
    },
]


@st.composite
def healthy_histories(draw):
    """A model that learns: rows of an epoch each, rounded or not, and its settings.

    The loss falls from its chance level (above it at first, with a large scale) to a floor with noise; recalls are
    whole numbers of hits that rise with time, and with K as published ones do: 1 - R@K = (1 - R@1)^(K^g), g = .5 to
    .75. Schedules: constant, cosine to its end, linear decay, each after a warm-up.
    """
    batch = draw(st.sampled_from([32, 64, 100, 128, 256, 512, 1000, 1024]))
    n = draw(st.integers(max(200, batch), 20_000))
    rows = draw(st.integers(1, 40))
    noise = draw(st.randoms(use_true_random=False))
    digits = draw(st.sampled_from([2, 3, 4, 6, 17]))
    weights = draw(st.sampled_from([(1.0, 1.0), (0.25, 1.0), (0.5, 0.5), (1.0, 0.1)]))
    floor = draw(st.floats(0.2, 0.6))
    rates = draw(schedules(rows))
    best, growth = draw(st.floats(0.05, 0.95)), draw(st.floats(0.5, 0.75))
    table = []
    for row in range(rows):
        done = 1 - math.exp(-4 * (row + 1) / rows)
        level = math.log(batch) * (1 - done * (1 - floor)) * (1 + 0.01 * noise.uniform(-1, 1))
        clip, mrl = level, level * (1 + 0.03 * noise.uniform(0.1, 1))
        hits = [round(n * (1 - (1 - best * done) ** (k**growth))) for k in (1, 5, 10)]
        record = {
            "epoch": row, "lr": rates[row], "train_loss": weights[0] * clip * 0.9 + weights[1] * mrl * 0.9,
            "val_loss": weights[0] * clip + weights[1] * mrl, "val_loss_clip": clip, "val_loss_mrl": mrl,
            **{f"i2t_R@{k}": h / n for k, h in zip((1, 5, 10), hits, strict=True)},
        }  # fmt: skip
        table.append({key: value if key in ("epoch", "lr") else round(value, digits) for key, value in record.items()})
    config = {
        "batch_size": batch,
        "lr": max(rates),
        "clip_weight": weights[0],
        "mrl_weight": weights[1],
        "epochs": rows,
    }
    return {"config": config, "history": table}


@st.composite
def schedules(draw, rows):
    """Learning rates of a run that ends at its horizon."""
    peak = draw(st.sampled_from([1e-4, 2e-4, 5e-4, 1e-3]))
    warm = draw(st.integers(0, max(0, rows // 3)))
    kind = draw(st.sampled_from(["constant", "cosine", "linear", "cosine_to_a_tenth"]))
    shapes = {
        "constant": lambda p: 1.0,
        "cosine": lambda p: 0.5 * (1 + math.cos(math.pi * p)),
        "linear": lambda p: 1 - p,
        "cosine_to_a_tenth": lambda p: 0.1 + 0.45 * (1 + math.cos(math.pi * p)),
    }
    left = max(1, rows - warm)
    return [peak * ((row + 1) / warm if row < warm else shapes[kind]((row - warm) / left)) for row in range(rows)]
