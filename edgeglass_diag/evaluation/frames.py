"""Data frames for the figures of an evaluation. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from edgeglass_diag.evaluation.pairs import PairSample, is_constant
from edgeglass_diag.measures.hubness import occurrences
from edgeglass_diag.measures.similarity import cosine_density, separation
from edgeglass_diag.measures.spectrum import singular_values

Array = np.ndarray[Any, Any]
KINDS = ("pairs", "non-pairs")
MAX_COSINES = 20_000
"""Cosines in a density estimate: more change no pixel of the figure."""


def density_frame(sample: PairSample, *, seed: int = 0) -> pd.DataFrame:
    """Return densities of the cosines of pairs and non-pairs.

    Columns ``kind``, ``cosine``, ``density``, ``mean``, ``count``; ``attrs["separation"]`` is the probability that the
    cosine of a pair exceeds that of a non-pair. A kind with equal cosines has one row of infinite density; a kind
    without cosines has no row.

    Args:
        sample: pairs; captions of the same image do not form non-pairs.
        seed: of the draw of at most 20000 cosines for a density; mean and separation use all of them.
    """
    pairs = np.einsum("nd,nd->n", sample.image, sample.text)
    others = (sample.image @ sample.text.T)[sample.owner[:, None] != sample.owner[None, :]]
    rows = [row for kind, cosines in zip(KINDS, (pairs, others), strict=True) for row in _density(kind, cosines, seed)]
    frame = pd.DataFrame(rows, columns=["kind", "cosine", "density", "mean", "count"])
    frame.attrs["separation"] = separation(pairs, others)
    return frame


def _density(kind: str, cosines: Array, seed: int) -> Iterator[tuple[str, float, float, float, int]]:
    if len(cosines) == 0:
        return
    mean, count = float(cosines.mean()), len(cosines)
    if count > MAX_COSINES:
        cosines = np.random.default_rng(seed).choice(cosines, MAX_COSINES, replace=False)
    found = cosine_density(cosines)
    grid, density = ([mean], [np.inf]) if found is None else found
    for cosine, height in zip(grid, density, strict=True):
        yield kind, float(cosine), float(height), mean, count


def spectrum_frame(sample: PairSample) -> pd.DataFrame:
    """Return the singular values of the unit rows of each side.

    Columns ``side``, ``index`` from 1, ``value`` over the largest value, ``rank``: the effective rank, exp of the
    entropy of the values over their sum. Values below rounding are left out; without pairs there is no row.
    """
    rows = []
    for name, side in (("image", sample.image), ("text", sample.text)):
        values = singular_values(side) if len(side) else np.zeros(0)
        values = values[values > 0][: 1 if is_constant(side) else None]
        share = values / values.sum() if len(values) else values
        rank = float(np.exp(-(share * np.log(share)).sum())) if len(values) else np.nan
        rows += [(name, index + 1, float(value / values[0]), rank) for index, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["side", "index", "value", "rank"])


def occurrence_frame(sample: PairSample, k: int = 10) -> pd.DataFrame:
    """Return the k-occurrences of the candidates in each direction: columns ``way`` (i2t, t2i), ``occurrence``.

    ``attrs["k"]`` is the k that was used, at most the number of pairs.

    Args:
        sample: pairs; an image with several captions in it counts once.
        k: ranks that count as an occurrence.
    """
    _, once = np.unique(sample.owner, return_index=True)
    images, texts = sample.image[once], sample.text
    ways = {"i2t": (images, texts), "t2i": (texts, images)}
    found = {way: occurrences(q, c, k) if len(c) > 1 else np.zeros(0) for way, (q, c) in ways.items()}
    frame = pd.DataFrame(
        [(way, float(n)) for way, counts in found.items() for n in counts], columns=["way", "occurrence"]
    )
    frame.attrs["k"] = min(k, max(1, len(sample)))
    return frame


def curve_frame(result: dict[str, Any], k: str = "R@1") -> pd.DataFrame:
    """Return the MRL curve of a result of ``eval``: columns ``way``, ``dims``, ``saved``, ``i2t``, ``t2i``, ``mean``.

    Only the prefixes if the result has no controls.
    """
    full = max(map(int, result["mrl"]))
    plain = [{"way": "prefix", "dims": int(d), "saved": full / int(d), **r} for d, r in result["mrl"].items()]
    rows = result["curve"]["rows"] if "curve" in result else plain
    cells = [(row["way"], row["dims"], row["saved"], row["i2t"][k], row["t2i"][k]) for row in rows]
    frame = pd.DataFrame(cells, columns=["way", "dims", "saved", "i2t", "t2i"])
    return frame.assign(mean=(frame["i2t"] + frame["t2i"]) / 2)


def recall_frame(result: dict[str, Any]) -> pd.DataFrame:
    """Return recalls at full width: columns ``way``, ``k``, ``recall``, ``low``, ``high`` (95 %), ``chance``."""
    rows = [
        (way, k, result[way][k], *result["ci95"][way][k], result["chance"][way][k])
        for way in ("i2t", "t2i")
        for k in ("R@1", "R@5", "R@10")
    ]
    return pd.DataFrame(rows, columns=["way", "k", "recall", "low", "high", "chance"])
