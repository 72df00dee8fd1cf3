"""Recall within a few pairs, without torch: what a dashboard draws beside a run that still trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
TIE = 2.0**-20
"""Cosines that lie within this are ties, as in the evaluation of a run."""


def recall_at(image: Array, text: Array, k: int, dims: Sequence[int]) -> dict[int, tuple[float, float]]:
    """Recall@k of images and of captions among the pairs, by the width of a prefix; ties count by their mean.

    For query q with own cosine c, g candidates above c and e ties with it (itself among them), the chance that it
    stands among the first k is min(1, max(0, (k - g) / e)). NaN is a miss.

    Args:
        image: (n, D) floats, row i a pair with row i of ``text``.
        text: the other side.
        k: places that count.
        dims: widths, each at most D.

    Returns:
        ``{width: (image to text, text to image)}``.

    Example:
        >>> recall_at(np.eye(4), np.eye(4), 1, [4])
        {4: (1.0, 1.0)}
        >>> recall_at(np.ones((4, 2)), np.ones((4, 2)), 1, [2])
        {2: (0.25, 0.25)}
    """
    found = {}
    for width in dims:
        cosines = _unit(image[:, :width]) @ _unit(text[:, :width]).T
        found[width] = (_hits(cosines, k), _hits(cosines.T, k))
    return found


def _hits(cosines: Array, k: int) -> float:
    own = np.diagonal(cosines)[:, None]
    above = (cosines > own + TIE).sum(1)
    ties = (np.abs(cosines - own) <= TIE).sum(1)
    return float(np.where(ties > 0, np.clip((k - above) / np.maximum(ties, 1), 0, 1), 0).mean())


def _unit(rows: Array) -> Array:
    wide = rows.astype(np.float64)
    norm = np.linalg.norm(wide, axis=1, keepdims=True)
    result: Array = wide / np.where(norm == 0, 1, norm)
    return result
