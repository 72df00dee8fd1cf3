"""Which pairs lie apart, who their neighbours are, which are hubs; and one plane for all steps. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from edgeglass_diag.evaluation.pairs import PairSample
from edgeglass_diag.measures.hubness import TIE, occurrences

Array = np.ndarray[Any, Any]
SIDES = ("image", "text")
_BLOCK, _ROUNDS = 10, 40
"""Axes that are sought together so that the first two are found soon, and rounds at most."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """How each side of each pair stands among the other side; positions are those in the sample.

    Attributes:
        pairs: (n,) the row of each pair in what was kept.
        cosines: (n, n) of images (rows) and texts.
        rank: by side, (n,) how many of the other side are at least as near as the partner, without it.
        hubness: by side, (n,) among how many first k of the other side's it stands.
        k: the places that count.
        gap: distance between the means of both sides, as ``measures.geometry.modality_gap`` has it.
    """

    pairs: Array
    cosines: Array
    rank: dict[str, Array]
    hubness: dict[str, Array]
    k: int
    gap: float

    @property
    def similarity(self) -> Array:
        """Return the cosine of each pair, (n,)."""
        return np.diagonal(self.cosines)

    def nearest(self, pair: int, side: str, count: int = 5) -> list[tuple[int, float]]:
        """Return the pairs whose other side is nearest to one side of a pair, with the cosine, nearest first.

        The partner stands behind what is as near, as in ``rank``.

        Args:
            pair: row in what was kept.
            side: whose neighbours among the other side are asked for.
            count: at most.
        """
        place = int(np.flatnonzero(self.pairs == pair)[0])
        row = self.cosines[place] if side == "image" else self.cosines[:, place]
        order = np.argsort(-np.where(np.arange(len(row)) == place, row - TIE, row), kind="stable")[:count]
        return [(int(self.pairs[other]), float(row[other])) for other in order]

    def worst(self, count: int = 8) -> list[int]:
        """Return the pairs that lie farthest behind the nearest other of their two sides, worst first."""
        others = self.cosines - np.diag(np.full(len(self.pairs), np.inf))
        behind = np.maximum(others.max(0), others.max(1)) - self.similarity
        return [int(pair) for pair in self.pairs[np.argsort(-behind, kind="stable")[:count]]]

    def hubs(self, side: str, count: int = 8) -> list[tuple[int, float]]:
        """Return what is found at least twice as often as on average, with how often, most often first."""
        found = self.hubness[side]
        order = np.argsort(-found, kind="stable")[:count]
        return [(int(self.pairs[n]), float(found[n])) for n in order if found[n] >= 2 * self.k]


def neighbours(sample: PairSample, k: int = 10) -> Neighbours | None:
    """Return the neighbours of a sample's pairs; None for fewer than two.

    Args:
        sample: pairs.
        k: places that count for hubs, at most a quarter of the pairs.
    """
    if len(sample) < 2:
        return None
    k = max(1, min(k, len(sample) // 4))
    cosines = sample.image @ sample.text.T
    partner = np.diagonal(cosines)
    rank = {"image": (cosines >= partner[:, None] - TIE).sum(1) - 1, "text": (cosines >= partner - TIE).sum(0) - 1}
    hubness = {
        "image": occurrences(sample.text, sample.image, k),
        "text": occurrences(sample.image, sample.text, k),
    }
    gap = float(np.linalg.norm(sample.image.mean(0) - sample.text.mean(0)))
    return Neighbours(sample.caption, cosines, rank, hubness, k, gap)


def common_plane(samples: Mapping[int, PairSample]) -> pd.DataFrame:
    """Return both sides at all steps on one plane: the first two principal axes of all rows of all steps together.

    Columns ``step``, ``side``, ``pair``, ``x``, ``y``; ``attrs["shares"]`` are the axes' shares of the variance. Steps
    whose embeddings are of another width than the last one's are left out.

    Args:
        samples: pairs by step.
    """
    kept = {step: sample for step, sample in samples.items() if len(sample)}
    widths = [sample.image.shape[1] for sample in kept.values()]
    kept = {step: sample for step, sample in kept.items() if sample.image.shape[1] == widths[-1]}
    if not kept:
        return pd.DataFrame(columns=["step", "side", "pair", "x", "y"])
    rows = np.concatenate([side for sample in kept.values() for side in (sample.image, sample.text)]).astype(np.float32)
    rows -= rows.mean(0)
    axes = _principal_axes(rows)
    flat = np.pad(rows @ axes, ((0, 0), (0, 2 - axes.shape[1])))
    frame = pd.DataFrame(
        {
            "step": np.concatenate([np.full(2 * len(sample), step) for step, sample in kept.items()]),
            "side": np.concatenate([np.repeat(SIDES, len(sample)) for sample in kept.values()]),
            "pair": np.concatenate([np.tile(sample.caption, 2) for sample in kept.values()]),
            "x": flat[:, 0],
            "y": flat[:, 1],
        }
    )
    frame.attrs["shares"] = (np.square(flat).sum(0) / max(float(np.square(rows).sum()), 1e-30)).tolist()
    return frame


def _principal_axes(rows: Array) -> Array:
    """Return the first two principal axes of centred rows, (D, at most 2), the largest entry of each positive.

    By subspace iteration, as all of the spectrum takes seconds where rows are wide.

    Source: Halko, Martinsson, Tropp, https://arxiv.org/abs/0909.4061.
    """
    start = np.random.default_rng(0).standard_normal((rows.shape[1], min(_BLOCK, rows.shape[1])))
    axes = start.astype(rows.dtype)
    before = np.zeros(1)
    for _ in range(_ROUNDS):
        image, sizes, _ = np.linalg.svd(rows @ axes, full_matrices=False)
        axes = np.linalg.qr(rows.T @ image)[0]
        if np.allclose(sizes[:2], before, rtol=1e-5):
            break
        before = sizes[:2]
    turn = np.linalg.svd(rows @ axes, full_matrices=False)[2]
    axes = (axes @ turn.T)[:, :2]
    signs = np.where(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])] < 0, -1, 1)
    found: Array = axes * signs
    return found
