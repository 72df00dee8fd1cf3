"""Hubs among the candidates: how often each stands among the first k of the queries. Numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
TIE = 2.0**-20
"""Cosines this close count as tied, as in retrieval."""


@dataclass(frozen=True, slots=True)
class Hubness:
    """How unevenly the candidates are found.

    ``skew`` is that of the k-occurrences, ``never`` the share of candidates that no query finds, ``largest`` the
    most k-occurrences of one candidate; k is their mean where there are as many queries as candidates.
    """

    k: int
    skew: float
    never: float
    largest: float


def occurrences(queries: Array, candidates: Array, k: int = 10, *, block: int = 1024) -> Array:
    """k-occurrence of each candidate, N_k: in how many queries' first k it stands, by cosine; (M,) of float64.

    Where candidates tie at the k-th place each counts by its chance to stand before it, so that candidates that
    are all alike are all found k Q / M times.

    Source: Radovanovic et al., Hubs in Space, https://www.jmlr.org/papers/v11/radovanovic10a.html.

    Args:
        queries: (Q, D) unit rows, finite.
        candidates: (M, D) unit rows, finite.
        k: places that count; all M where there are fewer.
        block: queries scored at once.
    """
    count = len(candidates)
    k = min(k, count)
    found = np.zeros(count)
    for start in range(0, len(queries), block):
        scores = queries[start : start + block] @ candidates.T
        last = np.partition(scores, count - k, axis=1)[:, count - k, None]
        above, near = scores > last + TIE, scores >= last - TIE
        sure = above.sum(1, keepdims=True)
        shared = (k - sure) / (near.sum(1, keepdims=True) - sure)
        found += np.where(above, 1.0, np.where(near, shared, 0.0)).sum(0)
    return found


def hubness(found: Array, k: int = 10) -> Hubness:
    """Skewness of the k-occurrences and what stands behind it; 0 where all candidates are found equally often.

    Formula: E (N_k - mean)^3 / std^3. Source: as for occurrences, which calls this S_{N_k}.

    Args:
        found: (M,) k-occurrences.
        k: the places that counted.

    Raises:
        ValueError: for no candidate.
    """
    if len(found) == 0:
        raise ValueError("hubness needs at least 1 candidate, got 0")
    deviation = found - found.mean()
    spread = float(np.sqrt(np.mean(deviation**2)))
    even = spread <= 1e-6 * max(1.0, float(found.mean()))
    skew = 0.0 if even else float(np.mean(deviation**3)) / spread**3
    return Hubness(k, skew, float(np.mean(found < 1e-9)), float(found.max()))
