"""The number of queries behind recalls: each recall is hits / N."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeglass_diag.auditing.logged import FLOAT32

LARGEST = 200_000


@dataclass(frozen=True)
class Count:
    """The least N that makes all recalls multiples of 1/N, and the expected number of smaller N that would."""

    n: int
    hits: tuple[int, ...]
    coincidence: float


def infer_count(recalls: Sequence[float], tolerance: float, *, limit: float = 1e-3) -> Count | None:
    """The least N of which all recalls (fractions) are multiples; None where the digits do not tell.

    A value of no meaning is within tolerance t of a multiple of 1/N with probability 2 t N; the product over the
    recalls, summed over all N up to the answer, must stay below ``limit``.

    Example:
        >>> infer_count([1 / 2984, 5 / 2984, 10 / 2984], 1e-12).n
        2984
    """
    told = sorted({value for value in recalls if 0 < value < 1})
    if not told:
        return None
    sizes = np.arange(2, LARGEST + 1, dtype=np.float64)
    fits = np.ones(len(sizes), dtype=bool)
    chance = np.ones(len(sizes))
    for value in told:
        slack = (tolerance + FLOAT32 * value) * sizes
        products = value * sizes
        fits &= (np.abs(products - np.rint(products)) <= slack) & (np.rint(products) >= 1)
        chance *= np.minimum(1.0, 2 * slack)
    found = np.flatnonzero(fits)
    if not len(found):
        return None
    expected = float(chance[: found[0] + 1].sum())
    n = int(sizes[found[0]])
    return Count(n, tuple(round(value * n) for value in told), expected) if expected <= limit else None
