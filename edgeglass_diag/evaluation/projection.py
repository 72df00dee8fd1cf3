"""Projections of both sides of pairs to two dimensions: PCA, t-SNE, UMAP. No torch; heavy packages are imported late.

Each projects both sides together, so that the gap between them is visible. t-SNE and UMAP keep neighbourhoods, not
distances: they spread small differences over the plane, rounding errors too. Rows that are equal up to rounding are
therefore merged into one point, so that a constant side is drawn as one point.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from edgeglass_diag.evaluation.pairs import PairSample, is_constant
from edgeglass_diag.evaluation.render import projection_notes, too_few_pairs, too_few_points
from edgeglass_diag.extras import extra

Array = np.ndarray[Any, Any]
METHODS = ("pca", "tsne", "umap")
MIN_POINTS = 10
"""Distinct points, those of five pairs, below which neighbourhoods are meaningless."""
LOW_VARIATION = 0.01
"""Share of energy below which a note says that a side hardly varies. A note for readers, not a finding."""


@dataclass(frozen=True, slots=True)
class Projection:
    """Projected points of both sides, with the texts of the figure.

    Attributes:
        method: ``pca``, ``tsne`` or ``umap``.
        points: columns ``side`` (image, text), ``pair`` (row of the caption), ``x``, ``y``.
        axes: titles of both axes.
        settings: hyperparameters of the method, and what it preserves.
        notes: size of the sample, and sides that hardly vary.
        empty: why there are no points; empty if there are.
    """

    method: str
    points: pd.DataFrame
    axes: tuple[str, str]
    settings: str
    notes: tuple[str, ...]
    empty: str = ""


def project(sample: PairSample, method: str, *, seed: int = 0) -> Projection:
    """Return a projection of both sides of a sample of pairs; deterministic for a seed.

    Sources: t-SNE, https://www.jmlr.org/papers/v9/vandermaaten08a.html; UMAP, https://arxiv.org/abs/1802.03426; both
    start from the principal components, https://doi.org/10.1038/s41587-020-00809-z.

    Args:
        sample: pairs.
        method: ``pca``, ``tsne`` or ``umap``.
        seed: of the random numbers of t-SNE and UMAP.

    Raises:
        ValueError: for an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    notes = projection_notes(sample, _low_variation(sample))
    if len(sample) < 2:
        return Projection(method, _points(sample, None), ("", ""), "", notes, too_few_pairs(len(sample)))
    distinct, index = _distinct(sample)
    if len(distinct) == 1 or (method != "pca" and len(distinct) < MIN_POINTS):
        empty = too_few_points(len(distinct), MIN_POINTS)
        return Projection(method, _points(sample, None), ("", ""), "", notes, empty)
    flat, axes, settings = _METHODS[method](distinct, seed)
    return Projection(method, _points(sample, flat[index]), axes, settings, notes)


def _distinct(sample: PairSample) -> tuple[Array, Array]:
    """Return the distinct points (P, D), and the index of each row of both sides among them, (2n,)."""
    sides = [np.repeat(s[:1], len(s), 0) if is_constant(s) else s for s in (sample.image, sample.text)]
    rows = np.concatenate(sides)
    _, first, index = np.unique(np.round(rows, 6) + 0.0, axis=0, return_index=True, return_inverse=True)
    return rows[first], index.reshape(-1)


def _low_variation(sample: PairSample) -> dict[str, float]:
    """Return the varying share of energy of each side where it is below ``LOW_VARIATION``; 0 for a constant side."""
    sides = {"image": sample.image, "text": sample.text}
    shares = {name: 0.0 if is_constant(rows) else _varying_share(rows) for name, rows in sides.items() if len(rows) > 1}
    return {name: share for name, share in shares.items() if share < LOW_VARIATION}


def _varying_share(rows: Array) -> float:
    """Return the share of the energy of unit rows that their mean does not explain, in [0, 1]."""
    return float(1 - (rows.mean(0) ** 2).sum() / (rows**2).sum(1).mean())


def _points(sample: PairSample, flat: Array | None) -> pd.DataFrame:
    if flat is None:
        return pd.DataFrame({"side": pd.Series(dtype=str), "pair": pd.Series(dtype=int), "x": [], "y": []})
    side = np.repeat(["image", "text"], len(sample))
    return pd.DataFrame({"side": side, "pair": np.tile(sample.caption, 2), "x": flat[:, 0], "y": flat[:, 1]})


def _principal(rows: Array) -> tuple[Array, Array]:
    """Return coordinates (n, 2) along the first two principal axes, and their shares of the variance (2,).

    The sign of an axis makes its largest weight positive.
    """
    centred = rows - rows.mean(0)
    left, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])
    coordinates = (left * sizes * signs)[:, :2]
    shares = sizes**2 / (sizes**2).sum()
    missing = 2 - coordinates.shape[1]
    return np.pad(coordinates, ((0, 0), (0, max(0, missing)))), np.pad(shares, (0, max(0, missing)))


def _pca(rows: Array, _: int) -> tuple[Array, tuple[str, str], str]:
    coordinates, shares = _principal(rows)
    axes = tuple(f"axis {n + 1}: {shares[n]:.0%} of the variance" for n in range(2))
    return coordinates, (axes[0], axes[1]), "distances are kept as far as two axes can"


def _start(rows: Array) -> Array:
    """Return initial coordinates (n, 2) of t-SNE: the principal components, scaled to a std of 1e-4."""
    coordinates = _principal(rows)[0]
    start: Array = coordinates / coordinates[:, 0].std() * 1e-4
    return start


def _tsne(rows: Array, seed: int) -> tuple[Array, tuple[str, str], str]:
    with extra("evaluate", "t-SNE"):
        from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(rows) - 1) / 3)
    flat = TSNE(perplexity=perplexity, init=_start(rows), random_state=seed, n_jobs=1).fit_transform(rows)
    settings = f"perplexity {perplexity:.3g}, seed {seed}; neighbourhoods are kept, distances are not"
    return flat, ("t-SNE 1", "t-SNE 2"), settings


def _umap(rows: Array, seed: int) -> tuple[Array, tuple[str, str], str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba and umap warn on import about their own code
        with extra("evaluate", "UMAP"):
            from umap import UMAP

        neighbours = min(15, len(rows) - 1)
        start = _start(rows) * 1e5  # UMAP expects initial coordinates of about 10
        model = UMAP(n_neighbors=neighbours, init=start, random_state=seed, n_jobs=1)
        flat = model.fit_transform(rows)
    settings = f"{neighbours} neighbours, minimal distance 0.1, seed {seed}; neighbourhoods are kept, distances are not"
    return flat, ("UMAP 1", "UMAP 2"), settings


_METHODS: dict[str, Callable[[Array, int], tuple[Array, tuple[str, str], str]]] = {
    "pca": _pca,
    "tsne": _tsne,
    "umap": _umap,
}
