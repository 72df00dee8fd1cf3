"""Faulty trainings: a healthy one with one thing that went wrong, as people report it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tests.audit.drawn.healthy import contrastive, ordinary, several_terms
from tests.audit.drawn.shapes import Random, Training, between, clock, evaluations, hits, noisy, norms, pick, seconds


def divergence(random: Random) -> Training:
    """The loss rises to several times its level within some rows, with gradients of thousands, and stays."""
    made = ordinary(random, noise=between(random, 0.01, 0.08))
    row = int(len(made.steps) * random.uniform(0.4, 0.9))
    row = min(row, len(made.steps) - 5)
    low = float(np.median(made.columns["loss"][row - 5 : row]))
    high = max(low * random.uniform(2.5, 6), float(made.columns["loss"][0]) * random.uniform(0.9, 1.5))
    after = np.arange(len(made.steps) - row)
    made.columns["loss"][row:] = noisy(random, low + (high - low) * (1 - np.exp(-(after + 1) / 2.0)), 0.05)
    made.columns["grad_norm"] = norms(random, made.steps / made.steps[-1])
    made.columns["grad_norm"][row:] *= between(random, 30, 2000)
    late = made.steps[made.evaluated_at.astype(int)] >= made.steps[row]
    made.evaluations["loss"][late] = high
    made.expected = frozenset({"EG204"})
    return made


def creeping_divergence(random: Random) -> Training:
    """The loss turns and climbs slowly, to more than it began with."""
    made = ordinary(random, noise=between(random, 0.01, 0.05))
    part = made.steps / made.steps[-1]
    turn = random.uniform(0.3, 0.6)
    loss = made.columns["loss"]
    row = int(np.searchsorted(part, turn))
    climb = (part - turn) / (1 - turn)
    low, start = float(np.median(loss[max(0, row - 5) : row + 1])), float(loss[0])
    loss[row:] = noisy(random, (low + (1.2 * start - low) * np.clip(climb, 0, 1))[row:], 0.03)
    at = made.evaluated_at.astype(int)
    made.evaluations["loss"] = loss[at]
    made.expected = frozenset({"EG204"})
    return made


def gradient_spikes(random: Random) -> Training:
    """Broken batches: the gradient is 40 to 2000 times as large in some rows, and the loss jumps for a moment."""
    made = ordinary(random)
    if len(made.steps) < 40:
        return gradient_spikes(random)
    made.columns["grad_norm"] = norms(random, made.steps / made.steps[-1])
    rows = random.choice(np.arange(12, len(made.steps) - 12), size=int(random.integers(1, 6)), replace=False)
    for row in rows:
        made.columns["grad_norm"][row] *= between(random, 60, 2000)
        made.columns["loss"][row : row + 2] *= random.uniform(1.1, 2.0)
    made.expected = frozenset({"EG254"})
    return made


def rate_zero(random: Random) -> Training:
    """The scheduler gives 0 throughout; the loss is that of the batches."""
    made = ordinary(random)
    start = between(random, 0.7, 8)
    made.columns["lr"] = np.zeros(len(made.steps))
    made.columns["loss"] = noisy(random, np.full(len(made.steps), start), between(random, 0.005, 0.08))
    made.evaluations["loss"] = np.full(len(made.evaluated_at), start * 1.01)
    made.expected = frozenset({"EG255"})
    return made


def overfitting(random: Random) -> Training:
    """Training goes to nothing, the validation loss rises by a quarter to two thirds and more."""
    made = ordinary(random, noise=between(random, 0.01, 0.06))
    steps = clock(random, least=60)
    part = steps / steps[-1]
    at = evaluations(random, steps, least=8)
    start = between(random, 0.7, 4)
    best = random.uniform(0.2, 0.45)
    made.steps, made.evaluated_at, made.seconds = steps, at.astype(float), seconds(random, steps)
    made.columns = {"loss": noisy(random, start * np.exp(-part * 4), 0.05), "lr": np.full(len(steps), 1e-4)}
    lowest = start * random.uniform(0.4, 0.8)
    rise = lowest * random.uniform(0.25, 1.5)
    curve = np.where(
        part < best, lowest + (start - lowest) * (1 - part / best) ** 2, lowest + rise * (part - best) / (1 - best)
    )
    made.evaluations = {"loss": noisy(random, curve[at], 0.01)}
    if random.random() < 0.5:
        made.evaluations["acc"] = hits(random, 0.5 + 0.25 * np.minimum(1, part[at] / best), 5000)
    made.expected = frozenset({"EG459"})
    return made


def second_warm_up(random: Random) -> Training:
    """Resumed without scheduler and optimizer state: the rate warms up again, the loss jumps and comes back slowly."""
    made = ordinary(random, rate=pick(random, "constant", "cosine", "linear"), noise=between(random, 0.005, 0.05))
    if len(made.steps) < 40:
        return second_warm_up(random)
    row = int(len(made.steps) * random.uniform(0.35, 0.6))
    peak = float(made.columns["lr"].max())
    warm = max(4, len(made.steps) // 20)
    after = np.arange(len(made.steps) - row)
    made.columns["lr"][row:] = np.where(after < warm, peak * after / warm, made.columns["lr"][row:])
    _jump(random, made, row)
    made.expected = frozenset({"EG256"})
    return made


def another_rate(random: Random) -> Training:
    """Resumed with three to thirty times the rate: the loss jumps."""
    made = ordinary(random, rate="constant", noise=between(random, 0.005, 0.05))
    row = int(len(made.steps) * random.uniform(0.4, 0.7))
    made.columns["lr"][row:] *= random.uniform(3, 30)
    _jump(random, made, row)
    made.expected = frozenset({"EG256", "EG204"})
    return made


def _jump(random: Random, made: Training, row: int) -> None:
    loss = made.columns["loss"]
    before = float(np.median(loss[max(0, row - 5) : row]))
    fall = max(float(loss[0]) - before, 0.3 * before)
    height = fall * random.uniform(0.5, 0.9)
    after = np.arange(len(loss) - row)
    loss[row:] = loss[row:] + height * np.exp(-after / max(6.0, len(after) / 6))


def still_term(random: Random) -> Training:
    """One of three terms learns nothing: ln 2 or the entropy of one in three, exact or with the noise of batches."""
    made = several_terms(random)
    level = pick(random, math.log(2), 0.6365, 0.2)
    share = pick(random, 0.0, 0.0005, 0.002)
    dead = level * (1 + share * random.standard_normal(len(made.steps)))
    made.columns["loss"] = made.columns["loss"] - made.columns["loss_itm"] + dead
    made.columns["loss_itm"] = dead
    made.expected = frozenset({"EG460"})
    return made


def majority(random: Random) -> Training:
    """Always the most frequent class: the accuracy of each evaluation is its share, the loss its entropy."""
    made = ordinary(random)
    share = random.uniform(0.55, 0.93)
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    part = made.steps / made.steps[-1]
    at = made.evaluated_at.astype(int)
    made.columns["loss"] = noisy(random, entropy + 0.3 * np.exp(-part * 60), 0.03)
    made.columns["acc"] = hits(random, np.full(len(part), share), 256)
    made.evaluations = {"loss": np.full(len(at), entropy * 1.01), "acc": np.full(len(at), round(share, 4))}
    made.expected = frozenset({"EG608"})
    return made


def recalls_of_chance(random: Random) -> Training:
    """One side is constant: .1, .5 and 1.0 % in all evaluations, or near them."""
    made = contrastive(random)
    n = 1000
    level = math.log(made.settings["batch_size"])
    made.columns["loss"] = noisy(random, np.full(len(made.steps), level), 0.001)
    made.evaluations = {"loss": np.full(len(made.evaluated_at), level)}
    for way in ("i2t", "t2i"):
        for k in (1, 5, 10):
            made.evaluations[f"{way}_R@{k}"] = np.full(len(made.evaluated_at), k / n)
    made.expected = frozenset({"EG601", "EG610", "EG301", "EG401"})
    return made


def slowing(random: Random) -> Training:
    """Each step takes longer: after the run it is two to six times as long as at first."""
    made = ordinary(random)
    part = made.steps / made.steps[-1]
    slow = 1 + random.uniform(1, 5) * part
    made.seconds = seconds(random, made.steps, slow)
    made.columns["steps_per_second"] = np.exp(0.06 * random.standard_normal(len(part))) * 3 / slow
    made.expected = frozenset({"EG258"})
    return made


def nan_between(random: Random) -> Training:
    """Some batches give NaN, are skipped, and the training goes on."""
    made = ordinary(random)
    rows = random.choice(np.arange(3, len(made.steps) - 3), size=int(random.integers(1, 6)), replace=False)
    made.columns["loss"][rows] = math.nan
    made.expected = frozenset({"EG461"})
    return made


def nan_to_the_end(random: Random) -> Training:
    """The loss is NaN from some row on."""
    made = ordinary(random)
    row = int(len(made.steps) * random.uniform(0.3, 0.9))
    made.columns["loss"][row:] = math.nan
    made.evaluations["loss"][made.evaluated_at >= row] = math.nan
    made.expected = frozenset({"EG801"})
    return made


def five_captions(random: Random) -> Training:
    """Five captions a picture, evaluated as five pairs: five equal pictures stand in the gallery."""
    made = contrastive(random)
    part = made.steps[made.evaluated_at.astype(int)] / made.steps[-1]
    n = 5000
    best = random.uniform(0.3, 0.8)
    picture = best * (1 - np.exp(-part * 5))
    second = picture + (1 - picture) * 0.2 * part
    for way in ("i2t", "t2i"):
        made.evaluations[f"{way}_R@1"] = hits(random, picture / 5, n)
        made.evaluations[f"{way}_R@5"] = hits(random, picture, n)
        made.evaluations[f"{way}_R@10"] = np.maximum(made.evaluations[f"{way}_R@5"], hits(random, second, n))
    made.expected = frozenset({"EG609"})
    return made


def guessing(random: Random) -> Training:
    """The loss is ln C of a classifier, or that of a language model's vocabulary, in all rows."""
    made = ordinary(random)
    classes = pick(random, 2, 10, 100, 1000, 32000)
    made.columns["loss"] = noisy(random, np.full(len(made.steps), math.log(classes)), 0.002)
    made.evaluations["loss"] = np.full(len(made.evaluated_at), math.log(classes))
    made.expected = frozenset({"EG462", "EG401"})
    return made


FAULTY: tuple[Callable[[Random], Training], ...] = (
    divergence, creeping_divergence, gradient_spikes, rate_zero, overfitting, second_warm_up, another_rate, still_term,
    majority, recalls_of_chance, slowing, nan_between, nan_to_the_end, five_captions, guessing,
)  # fmt: skip
