"""Which batch sizes give a logged loss where nothing is known: weighted means of ln B, with their coincidences.

Every answer counts what was tried. ``coincidence`` bounds the expected number of predictions that a loss of no
meaning would meet within its tolerance: 2 x tolerance x predictions per nat near the value, over all hypotheses.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGEST_BATCH = 65536
RATIONALS = tuple(sorted({p / q for q in (1, 2, 4, 5, 10) for p in range(1, 4 * q + 1)}))
"""Sums of loss weights that are tried where none are known: multiples of 1, 1/2, 1/4, 1/5, 1/10 up to 4."""
_POWERS = 2 ** np.arange(1, 17)
_WINDOW = 0.05


@dataclass(frozen=True)
class Fingerprint:
    """A loss at its chance level: weight x mean of ln B over batches, the last of which may be short.

    ``batches`` full batches and ``rest`` pairs in a last one (0: none, or left out); ``n`` is None where the number
    of pairs is not known. ``mean`` is ``batches`` (each batch counts alike) or ``pairs``.
    """

    predicted: float
    weight: float
    batch: int
    n: int | None
    batches: int
    rest: int
    mean: str
    grid: str
    tolerance: float
    hypotheses: int
    coincidence: float

    @property
    def arithmetic(self) -> str:
        """The level in words, e.g. ``(23 ln 128 + ln 40) / 24``."""
        weight = "" if self.weight == 1 else f"{self.weight:.6g} x "
        if not self.rest:
            level = f"ln {self.batch}"
            text = weight + (f"{self.grid}({level})" if self.grid else level)
        elif self.mean == "pairs":
            whole = self.batches * self.batch
            text = f"{weight}({whole} ln {self.batch} + {self.rest} ln {self.rest}) / {self.n}"
        else:
            last = f"ln {self.rest}" if self.rest > 1 else "0"
            text = f"{weight}({self.batches} ln {self.batch} + {last}) / {self.batches + 1}"
        return text


def fingerprint(
    value: float, tolerance: float, *, weights: Sequence[float], sizes: Sequence[int], limit: float
) -> Fingerprint | None:
    """The simplest explanation of a loss by batches in which nothing is known, or None.

    Families are tried in turn: powers of two without a rest (also rounded to fp16 and bf16), powers of two over
    each known number of pairs, any batch over these numbers, any batch at all. Each one's hypotheses are added to
    those before it, and a match counts only if the expected number of coincidences is at most ``limit``.

    Args:
        value: the logged loss, in nats.
        tolerance: how far the true value may be from it.
        weights: factors in front of the mean that are tried.
        sizes: numbers of pairs that are known.
        limit: largest expected number of coincidences.
    """
    if not math.isfinite(value) or value < sys.float_info.min:  # a denormal number has no window around it
        return None
    hypotheses, expected = 0, 0.0
    for family in _families(weights, sizes):
        predicted = family.predicted()
        near = np.abs(predicted - value)
        hypotheses += len(predicted)
        window = max(_WINDOW * value, 2 * tolerance)
        expected += 2 * tolerance * max(1, int((near <= window).sum())) / (2 * window)
        best = int(near.argmin()) if len(near) else -1
        if best < 0 or near[best] > tolerance:
            continue
        if expected > limit:
            return None
        return family.describe(best, tolerance, hypotheses, expected)
    return None


@dataclass(frozen=True)
class _Family:
    """Hypotheses weight x level of each batch: all batches for the first weight, then for the next."""

    weights: Sequence[float]
    batches: NDArray[np.int64]
    levels: NDArray[np.float64]
    n: int | None = None
    mean: str = "batches"
    grid: str = ""

    def predicted(self) -> NDArray[np.float64]:
        """All predictions."""
        return np.outer(self.weights, self.levels).ravel()

    def describe(self, index: int, tolerance: float, hypotheses: int, coincidence: float) -> Fingerprint:
        """One hypothesis in full."""
        row, column = divmod(index, len(self.batches))
        batch = int(self.batches[column])
        whole, rest = divmod(self.n, batch) if self.n is not None else (0, 0)
        level = float(self.weights[row] * self.levels[column])
        return Fingerprint(
            level, self.weights[row], batch, self.n, whole, rest, self.mean, self.grid,
            tolerance, hypotheses, coincidence,
        )  # fmt: skip


def _families(weights: Sequence[float], sizes: Sequence[int]) -> Iterator[_Family]:
    yield _whole(weights, _POWERS)
    for grid, bits in (("fp16", 11), ("bf16", 8)):
        levels = np.array([round_to(math.log(batch), bits) for batch in _POWERS])
        yield _Family(weights, _POWERS, levels, grid=grid)
    for every in (False, True):
        for n in sizes:
            yield from _over(weights, n, np.arange(2, min(n, LARGEST_BATCH) + 1) if every else _POWERS)
    yield _whole(weights, np.arange(2, LARGEST_BATCH + 1))


def _whole(weights: Sequence[float], batches: NDArray[np.int64]) -> _Family:
    return _Family(weights, batches, np.log(batches))


def _over(weights: Sequence[float], n: int, batches: NDArray[np.int64]) -> Iterator[_Family]:
    """Batches that do not divide n, the last one short; averaged over batches or over pairs."""
    batches = batches[(batches <= n) & (n % batches != 0)]
    whole, rest = n // batches, n % batches
    logs, last = np.log(batches), np.log(rest)
    yield _Family(weights, batches, (whole * logs + last) / (whole + 1), n)
    yield _Family(weights, batches, (whole * batches * logs + rest * last) / n, n, "pairs")


def round_to(value: float, bits: int) -> float:
    """A positive value with a significand of some bits, as the dtype stores it (round to nearest, ties to even).

    Example:
        >>> round_to(math.log(4096), 11), round_to(math.log(128), 8)
        (8.3203125, 4.84375)
    """
    step = 2.0 ** (math.frexp(value)[1] - bits)
    return round(value / step) * step


def grid_mean(value: float, *, largest: int = 2000) -> tuple[int, float] | None:
    """How many losses on bf16's grid a logged mean is the mean of, and the expected number of coincidences.

    Between 4 and 8 bf16 has steps of 1/32, below finer ones; a sum of such losses is a multiple of 1/128 (losses
    above 1), whatever they are. So n x mean is one for the true n.

    Args:
        value: a mean logged with all digits of a double, above 2.
        largest: most batches that are tried.
    """
    if not 2 < value < 16:
        return None
    counts = np.arange(2, largest + 1)
    sums = value * counts * 128
    slack = 4 * np.spacing(sums)
    expected = np.cumsum(2 * slack)
    hits = np.flatnonzero(np.abs(sums - np.rint(sums)) <= slack)
    if not len(hits) or float(value * 128).is_integer() or expected[hits[0]] > 1e-3:
        return None
    return int(counts[hits[0]]), float(expected[hits[0]])
