"""Both sides of the pairs on a plane: PCA, t-SNE, UMAP. No torch; scikit-learn and umap-learn are imported where used.

All three see both sides together, so that the gap between them is part of the picture. t-SNE and UMAP keep
neighbourhoods and not distances: they blow whatever differs up to fill the plane, rounding errors too. Rows that are
equal up to rounding are therefore one point, so that a constant side is drawn as the one place that it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from edgeglass_diag.evaluation.pairs import PairSample, is_constant

Array = np.ndarray[Any, Any]
METHODS = ("pca", "tsne", "umap")
LEAST = 10
"""Different points below which neighbourhoods mean nothing: those of five pairs."""
NEARLY = 0.01
"""Share of its energy below which what varies of a side is pointed out. A mark for readers, and no verdict."""


@dataclass(frozen=True, slots=True)
class Projection:
    """Points of both sides and what belongs under the picture.

    ``points`` has the columns ``side`` (image, text), ``pair`` (the caption's row), ``x`` and ``y``; empty where
    ``empty`` says why there is no picture. ``axes`` are the names of both axes, ``settings`` what the method was
    told, ``notes`` what must be known to read it.
    """

    method: str
    points: pd.DataFrame
    axes: tuple[str, str]
    settings: str
    notes: tuple[str, ...]
    empty: str = ""


def project(sample: PairSample, method: str, *, seed: int = 0) -> Projection:
    """Return a projection of both sides of a sample of pairs; the same one each time.

    Sources: t-SNE, https://www.jmlr.org/papers/v9/vandermaaten08a.html; UMAP, https://arxiv.org/abs/1802.03426; both
    begin from the principal axes, https://doi.org/10.1038/s41587-020-00809-z.

    Args:
        sample: pairs.
        method: ``pca``, ``tsne`` or ``umap``.
        seed: of what the methods draw.

    Raises:
        ValueError: for another method.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    notes = _notes(sample)
    reason, distinct, place = "", np.empty((0, 0)), np.empty(0, int)
    if len(sample) < 2:
        reason = f"{len(sample) or 'no'} pair to be shown: a picture needs at least 2"
    else:
        distinct, place = _distinct(sample)
        reason = _too_few(len(distinct), method)
    if reason:
        return Projection(method, _points(sample, None), ("", ""), "", notes, reason)
    flat, axes, settings = _METHODS[method](distinct, seed)
    return Projection(method, _points(sample, flat[place]), axes, settings, notes)


def _distinct(sample: PairSample) -> tuple[Array, Array]:
    """Return the different points, and which of them each row is."""
    sides = [np.repeat(s[:1], len(s), 0) if is_constant(s) else s for s in (sample.image, sample.text)]
    rows = np.concatenate(sides)
    _, first, place = np.unique(np.round(rows, 6) + 0.0, axis=0, return_index=True, return_inverse=True)
    return rows[first], place.reshape(-1)


def _too_few(count: int, method: str) -> str:
    if count == 1:
        return "both sides are one and the same point"
    if method != "pca" and count < LEAST:
        return f"{count} different points are too few for neighbourhoods, which need at least {LEAST}"
    return ""


def _notes(sample: PairSample) -> tuple[str, ...]:
    notes = [sample.said]
    for name, side in (("image", sample.image), ("text", sample.text)):
        if len(side) > 1 and is_constant(side):
            notes.append(f"the {name} side is constant: all its embeddings are one point")
        elif len(side) > 1 and (varied := _varied(side)) < NEARLY:
            notes.append(f"the {name} side hardly varies ({varied:.1%} of its energy): t-SNE and UMAP blow it up")
    return tuple(notes)


def _varied(rows: Array) -> float:
    """Return the share of the energy of unit rows that is not their mean's."""
    return float(1 - (rows.mean(0) ** 2).sum() / (rows**2).sum(1).mean())


def _points(sample: PairSample, flat: Array | None) -> pd.DataFrame:
    if flat is None:
        return pd.DataFrame({"side": pd.Series(dtype=str), "pair": pd.Series(dtype=int), "x": [], "y": []})
    side = np.repeat(["image", "text"], len(sample))
    return pd.DataFrame({"side": side, "pair": np.tile(sample.caption, 2), "x": flat[:, 0], "y": flat[:, 1]})


def _principal(rows: Array) -> tuple[Array, Array]:
    """Return coordinates along two principal axes, whose largest weights are positive, and shares of variance."""
    centred = rows - rows.mean(0)
    left, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])
    places = (left * sizes * signs)[:, :2]
    shares = sizes**2 / (sizes**2).sum()
    missing = 2 - places.shape[1]
    return np.pad(places, ((0, 0), (0, max(0, missing)))), np.pad(shares, (0, max(0, missing)))


def _pca(rows: Array, _: int) -> tuple[Array, tuple[str, str], str]:
    places, shares = _principal(rows)
    axes = tuple(f"axis {n + 1}: {shares[n]:.0%} of the variance" for n in range(2))
    return places, (axes[0], axes[1]), "distances are kept as far as two axes can"


def _start(rows: Array) -> Array:
    """Return the principal places as t-SNE and UMAP begin from them, with a spread of 1e-4."""
    places = _principal(rows)[0]
    start: Array = places / places[:, 0].std() * 1e-4
    return start


def _tsne(rows: Array, seed: int) -> tuple[Array, tuple[str, str], str]:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(rows) - 1) / 3)
    flat = TSNE(perplexity=perplexity, init=_start(rows), random_state=seed, n_jobs=1).fit_transform(rows)
    said = f"perplexity {perplexity:.3g}, seed {seed}; neighbourhoods are kept, distances are not"
    return flat, ("t-SNE 1", "t-SNE 2"), said


def _umap(rows: Array, seed: int) -> tuple[Array, tuple[str, str], str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba and umap warn on import of what they do themselves
        from umap import UMAP

        neighbours = min(15, len(rows) - 1)
        start = _start(rows) * 1e5  # UMAP expects places within about 10
        model = UMAP(n_neighbors=neighbours, init=start, random_state=seed, n_jobs=1)
        flat = model.fit_transform(rows)
    said = f"{neighbours} neighbours, minimal distance 0.1, seed {seed}; neighbourhoods are kept, distances are not"
    return flat, ("UMAP 1", "UMAP 2"), said


_METHODS: dict[str, Callable[[Array, int], tuple[Array, tuple[str, str], str]]] = {
    "pca": _pca,
    "tsne": _tsne,
    "umap": _umap,
}
