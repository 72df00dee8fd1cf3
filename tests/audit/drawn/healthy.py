"""Healthy trainings, also those that look odd: restarts, bumps, plateaus, late drops, spikes that recover."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tests.audit.drawn.shapes import (
    Random,
    Training,
    between,
    clock,
    evaluations,
    exponential,
    falling,
    hits,
    noisy,
    norms,
    pick,
    power_law,
    right,
    schedule,
    seconds,
)


def ordinary(random: Random, *, rate: str = "", noise: float | None = None, start: float | None = None) -> Training:
    """A model that learns; the others change something of it."""
    steps = clock(random)
    part = steps / steps[-1]
    start = between(random, 0.7, 11) if start is None else start
    floor = start * random.uniform(0.05, 0.75)
    noise = between(random, 0.005, 0.12) if noise is None else noise
    loss = noisy(random, falling(random, part, start, floor), noise)
    at = evaluations(random, steps)
    gap = random.uniform(0.98, 1.15)
    val = noisy(random, gap * falling(random, part, start, floor)[at], min(noise, 0.02) / 2)
    columns = {"loss": loss, "lr": schedule(random, part, rate)}
    if random.random() < 0.7:
        columns["grad_norm"] = norms(random, part)
    per_epoch = max(1, len(steps) // pick(random, 1, 2, 3, 5, 10))
    return Training(
        "ordinary", steps, columns, {"loss": val}, at.astype(float), int(per_epoch * (steps[1] - steps[0])),
        {"batch_size": int(pick(random, 8, 32, 64, 256)), "learning_rate": float(columns["lr"].max())},
        seconds(random, steps), digits=int(pick(random, 3, 4, 4, 5, 6, 16)),
    )  # fmt: skip


def language_model(random: Random) -> Training:
    """A language model from scratch: from ln of its vocabulary down a power law."""
    return ordinary(random, start=math.log(pick(random, 8192, 32000, 50257, 128256)))


def fine_tuning(random: Random) -> Training:
    """A pretrained model that hardly moves: the loss begins near its end, batches are noisy."""
    made = ordinary(random, noise=random.uniform(0.04, 0.15))
    part = made.steps / made.steps[-1]
    start = between(random, 0.4, 2.5)
    curve = exponential(random, part, start, start * random.uniform(0.8, 0.97))
    at = made.evaluated_at.astype(int)
    made.columns["loss"] = noisy(random, curve, random.uniform(0.04, 0.15))
    made.evaluations["loss"] = noisy(random, curve[at] * 1.02, 0.004)
    return made


def classifier(random: Random) -> Training:
    """A classifier with accuracies; its validation loss turns up by a few percent at the end, as certain models do."""
    classes = pick(random, 2, 10, 100)
    made = ordinary(random, start=math.log(classes) * random.uniform(1.0, 1.1))
    part = made.steps / made.steps[-1]
    at = made.evaluated_at.astype(int)
    best = random.uniform(0.65, 0.97)
    made.columns["acc"] = right(random, part, 1 / classes, min(0.999, best + 0.02))
    made.evaluations["acc"] = right(random, part[at], 1 / classes, best)
    made.evaluations["loss"] *= 1 + 0.05 * np.clip(part[at] - 0.7, 0, 1) / 0.3
    return made


def restarts(random: Random) -> Training:
    """SGDR: cosine cycles that start again, the loss rises with each restart and falls lower at the end of each."""
    made = ordinary(random, noise=between(random, 0.01, 0.05))
    part = made.steps / made.steps[-1]
    cycles = pick(random, 3, 4)
    phase = (part * cycles * 0.9999) % 1
    made.columns["lr"] = 1e-3 * (0.01 + 0.99 * 0.5 * (1 + np.cos(math.pi * phase)))
    made.columns["loss"] = made.columns["loss"] * (1 + 0.25 * (0.5 * (1 + np.cos(math.pi * phase)) - 0.5) * part)
    return made


def double_descent(random: Random) -> Training:
    """The validation loss rises in the middle and falls again, below where it was."""
    made = ordinary(random)
    at = made.evaluated_at.astype(int)
    part = (made.steps / made.steps[-1])[at]
    bump = random.uniform(0.1, 0.5) * np.exp(-(((part - random.uniform(0.3, 0.5)) / 0.1) ** 2))
    made.evaluations["loss"] = made.evaluations["loss"] * (1 + bump)
    return made


def small_batches(random: Random) -> Training:
    """Losses of batches of two: hardly a trend is to be seen in single rows."""
    return ordinary(random, noise=random.uniform(0.2, 0.35))


def plateau_first(random: Random) -> Training:
    """Nothing happens at first: the loss rests at ln C until a third of the run, then falls."""
    made = ordinary(random)
    part = made.steps / made.steps[-1]
    start = math.log(pick(random, 10, 64, 100, 512))
    until = random.uniform(0.2, 0.4)
    floor = start * random.uniform(0.2, 0.6)
    curve = np.where(part < until, start, exponential(random, np.clip(part - until, 0, 1), start, floor))
    at = made.evaluated_at.astype(int)
    made.columns["loss"] = noisy(random, curve, 0.01)
    made.evaluations["loss"] = noisy(random, curve[at], 0.003)
    return made


def grokking(random: Random) -> Training:
    """Training is solved early; validation is at chance and its loss high until late, then it is solved as well."""
    made = ordinary(random)
    steps = clock(random, least=120)
    part = steps / steps[-1]
    start = math.log(97)
    until = random.uniform(0.5, 0.75)
    at = evaluations(random, steps, least=15)
    late = 1 / (1 + np.exp(-(part - until) * 40))
    rise = start * (1 + 0.8 * (1 - np.exp(-part * 8)))
    made.steps, made.evaluated_at, made.seconds = steps, at.astype(float), seconds(random, steps)
    made.columns = {
        "loss": noisy(random, 0.02 + start * np.exp(-part * 25), 0.1),
        "lr": np.full(len(steps), 1e-3),
        "acc": hits(random, 1 - 0.99 * np.exp(-part * 25), 4000),
    }
    made.evaluations = {
        "loss": (rise * (1 - late) + 0.05 * late)[at],
        "acc": hits(random, (0.0103 + 0.98 * late)[at], 4000),
    }
    return made


def accumulated(random: Random) -> Training:
    """Gradient accumulation: rows at every 4th to 16th batch, smoother losses, few of them."""
    made = ordinary(random, noise=0.01)
    keep = slice(None, None, pick(random, 4, 8))
    if len(made.steps[keep]) < 8:
        return made
    made.steps, made.seconds = made.steps[keep], None
    made.columns = {name: values[keep] for name, values in made.columns.items()}
    made.evaluated_at = evaluations(random, made.steps, least=4).astype(float)
    part = made.steps / made.steps[-1]
    at = made.evaluated_at.astype(int)
    made.evaluations["loss"] = noisy(random, power_law(random, part, 2.0, 1.2)[at], 0.005)
    return made


def resumed(random: Random) -> Training:
    """Resumed from a checkpoint with its whole state: some steps are there twice, with losses as before."""
    made = ordinary(random)
    cut = int(len(made.steps) * random.uniform(0.4, 0.7))
    again = max(1, cut - int(random.integers(1, 5)))
    order = np.concatenate([np.arange(cut), np.arange(again, len(made.steps))])
    at = made.evaluated_at.astype(int)
    made.evaluated_at = np.array([float(np.flatnonzero(order == row)[-1]) for row in at])
    fresh = 1 + 0.01 * random.standard_normal(len(order))
    made.steps = made.steps[order]
    made.columns = {name: values[order] for name, values in made.columns.items()}
    made.columns["loss"] = made.columns["loss"] * fresh
    made.seconds = None
    return made


def spikes(random: Random) -> Training:
    """One or two loss spikes, which the next rows take back, with a larger gradient."""
    made = ordinary(random)
    for _ in range(int(random.integers(1, 3))):
        row = int(random.integers(len(made.steps) // 4, len(made.steps) - 8))
        height = random.uniform(0.3, 1.5)
        made.columns["loss"][row : row + 5] *= 1 + height * np.exp(-np.arange(5) / 1.2)
        if "grad_norm" in made.columns:
            made.columns["grad_norm"][row] *= random.uniform(3, 8)
    return made


def majority_first(random: Random) -> Training:
    """An unbalanced task: always the same answer at first, then the rare class is learned."""
    made = ordinary(random)
    steps = clock(random, least=60)
    part = steps / steps[-1]
    share = random.uniform(0.6, 0.9)
    until = random.uniform(0.2, 0.4)
    learned = np.where(part < until, 0.0, 1 - np.exp(-(part - until) * 8))
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    at = evaluations(random, steps, least=8)
    made.steps, made.evaluated_at, made.seconds = steps, at.astype(float), seconds(random, steps)
    curve = entropy * (1 - 0.7 * learned)
    made.columns = {"loss": noisy(random, curve, 0.08), "lr": schedule(random, part)}
    best = share + (1 - share) * 0.8
    made.evaluations = {
        "loss": noisy(random, curve[at] * 1.03, 0.003),
        "acc": np.where(learned[at] == 0, share, np.round(share + (best - share) * learned[at], 4)),
    }
    return made


def contrastive(random: Random) -> Training:
    """A CLIP: loss from ln B, logit scale that rises, recalls from chance over a gallery of 1000 to 5000."""
    batch = pick(random, 64, 128, 256, 1024)
    made = ordinary(random, start=math.log(batch) * random.uniform(1.0, 1.2), noise=between(random, 0.01, 0.06))
    part = made.steps / made.steps[-1]
    at = made.evaluated_at.astype(int)
    n = int(pick(random, 1000, 2000, 5000))
    made.settings["batch_size"] = batch
    made.columns["logit_scale"] = 14.2857 + random.uniform(5, 60) * part
    best = random.uniform(0.1, 0.6)
    for way in ("i2t", "t2i"):
        first = 1 / n + best * (1 - np.exp(-part[at] * 4))
        growth = random.uniform(0.5, 0.75)  # of 1 - R@K = (1 - R@1)^(K^g): CLIP on COCO .55, VSE++ .72
        shares = (1 - (1 - first) ** (k**growth) + (k - 1) / n for k in (1, 5, 10))
        drawn = np.sort(np.stack([hits(random, share, n) for share in shares]), axis=0)
        made.evaluations |= {f"{way}_R@{k}": drawn[i] for i, k in enumerate((1, 5, 10))}
    return made


def several_terms(random: Random) -> Training:
    """Three terms that fall at their own pace, and a load balance of experts that is 1 throughout."""
    made = ordinary(random)
    part = made.steps / made.steps[-1]
    parts = {
        "loss_itc": noisy(random, falling(random, part, math.log(64), 1.5), 0.03),
        "loss_itm": noisy(random, falling(random, part, 0.66, 0.3), 0.05),
        "loss_mlm": noisy(random, falling(random, part, 8.0, 2.5), 0.03),
    }
    made.columns |= parts
    made.columns["loss"] = sum(parts.values(), np.zeros(len(part)))
    made.columns["loss_aux_balance"] = 1 + 0.002 * random.random(len(part))
    made.evaluations = {"loss": noisy(random, made.columns["loss"][made.evaluated_at.astype(int)], 0.01)}
    return made


def mixed_precision(random: Random) -> Training:
    """A loss scaler that looks for its scale: the first gradients are infinite."""
    made = ordinary(random)
    made.columns["grad_norm"] = norms(random, made.steps / made.steps[-1])
    made.columns["grad_norm"][: int(random.integers(1, 4))] = math.inf
    return made


HEALTHY: tuple[Callable[[Random], Training], ...] = (
    ordinary, language_model, fine_tuning, classifier, restarts, double_descent, small_batches, plateau_first, grokking,
    accumulated, resumed, spikes, majority_first, contrastive, several_terms, mixed_precision,
)  # fmt: skip
