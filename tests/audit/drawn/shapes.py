"""Curves of learning rates, losses, gradient norms, accuracies and speeds, and the noise on them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Random = np.random.Generator


@dataclass
class Training:
    """A log before it is written.

    ``columns`` has values at ``steps``, ``evaluations`` values at some of them; NaN is data. ``expected`` are the codes
    of which one at least is right for the fault; empty for a healthy training.
    """

    name: str
    steps: Array
    columns: dict[str, Array]
    evaluations: dict[str, Array] = field(default_factory=dict)
    evaluated_at: Array = field(default_factory=lambda: np.array([]))
    per_epoch: int = 100
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: Array | None = None
    expected: frozenset[str] = frozenset()
    digits: int = 4


def pick(random: Random, *values: Any) -> Any:
    """Return one of some values."""
    return values[int(random.integers(len(values)))]


def between(random: Random, low: float, high: float) -> float:
    """Return a number, uniform in its logarithm."""
    return float(math.exp(random.uniform(math.log(low), math.log(high))))


def clock(random: Random, *, least: int = 24, most: int = 400) -> Array:
    """Return the steps of the rows: every 1st to 100th optimizer step."""
    rows = int(between(random, least, most))
    every = pick(random, 1, 5, 10, 20, 50, 100)
    return np.arange(1, rows + 1) * float(every)


def noisy(random: Random, curve: Array, share: float) -> Array:
    """Return a curve with the noise of batches: relative, tails as of Student's t with five degrees of freedom."""
    factor = 1 + share * random.standard_t(5, len(curve)) / math.sqrt(5 / 3)
    return np.asarray(curve * np.clip(factor, 0.3, 3.0))


def power_law(random: Random, part: Array, start: float, floor: float) -> Array:
    """Return E + (S - E) (1 + t / t0)^-a for ``part`` in [0, 1]."""
    exponent, scale = random.uniform(0.4, 1.2), between(random, 0.01, 0.1)
    return np.asarray(floor + (start - floor) * (1 + part / scale) ** -exponent)


def exponential(random: Random, part: Array, start: float, floor: float) -> Array:
    """Return a fall with one rate, most of it in the first third."""
    return np.asarray(floor + (start - floor) * np.exp(-part * random.uniform(4, 9)))


def falling(random: Random, part: Array, start: float, floor: float) -> Array:
    """Return one of the ordinary falls."""
    shape: Callable[..., Array] = pick(random, power_law, power_law, exponential)
    return shape(random, part, start, floor)


def schedule(random: Random, part: Array, kind: str = "") -> Array:
    """Return a learning rate: a warm-up (from exactly 0, or none) and one of the usual decays."""
    peak = between(random, 1e-5, 3e-3)
    warm = pick(random, 0.0, 0.03, 0.06, 0.1)
    kind = kind or pick(random, "cosine", "linear", "constant", "step", "inverse", "onecycle")
    if kind == "onecycle":
        warm = 0.3
    done = np.clip((part - warm) / (1 - warm), 0, 1)
    shapes = {
        "cosine": 0.5 * (1 + np.cos(math.pi * done)),
        "linear": 1 - done,
        "constant": np.ones_like(done),
        "step": 0.1 ** np.floor(done * 3 * 0.999),
        "inverse": 1 / np.sqrt(1 + 20 * done),
        "onecycle": 0.5 * (1 + np.cos(math.pi * done)) + 1e-4,
    }
    rate = shapes[kind]
    return np.asarray(peak * np.where(part < warm, part / warm if warm else 1.0, rate))


def norms(random: Random, part: Array) -> Array:
    """Return gradient norms: large at first, log-normal about a slow fall."""
    usual = between(random, 0.2, 3.0)
    level = usual * (1 + random.uniform(1, 6) * np.exp(-part * 20))
    return np.asarray(level * np.exp(random.uniform(0.1, 0.45) * random.standard_normal(len(part))))


def seconds(random: Random, steps: Array, slow: Array | float = 1.0) -> Array:
    """Return when each row was written: log-normal pace, a first step that compiles, pauses for evaluations."""
    pace = between(random, 0.05, 2.0)
    took = pace * np.diff(steps, prepend=0) * np.exp(0.08 * random.standard_normal(len(steps))) * slow
    took[0] += pace * random.uniform(5, 40)
    pauses = random.random(len(steps)) < 0.05
    return np.asarray(np.cumsum(took + pauses * pace * np.diff(steps, prepend=0) * random.uniform(0.2, 2)))


def evaluations(random: Random, steps: Array, *, least: int = 5) -> Array:
    """Return the rows after which there is an evaluation: every N-th."""
    count = int(random.integers(least, max(least + 1, min(25, len(steps) // 3))))
    return np.unique(np.linspace(len(steps) / count, len(steps), count).astype(int) - 1)


def right(random: Random, part: Array, first: float, last: float) -> Array:
    """Return an accuracy that rises from ``first`` to ``last`` as 1 - exp does, with the noise of 5000 samples."""
    curve = last - (last - first) * np.exp(-part * random.uniform(4, 8))
    return hits(random, curve, 5000)


def hits(random: Random, shares: Array, samples: int) -> Array:
    """Return shares of samples as an evaluation counts them."""
    return np.asarray(random.binomial(samples, np.clip(shares, 0, 1)) / samples)
