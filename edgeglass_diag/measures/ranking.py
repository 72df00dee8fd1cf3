"""Where the match of each query stands in its ranking, and what follows: hits, expected rank, chance.

Tie rule: items whose score equals that of the match stand in random order, and every number is the expectation
over that order. A constant side therefore gives exactly the recall of chance, K / N, whatever rounding and sorting
make of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Placement:
    """The best-placed match of each of Q queries, at each of P prefix widths; float64 counts, (P, Q).

    Attributes:
        better: distractors that score higher; infinite for a query that cannot be ranked, which is always a miss.
        rivals: distractors that tie with the match.
        relevant: matches that tie with the best of them, itself included, at least 1.
        image: (Q,) index of the image each query belongs to.
    """

    better: Tensor
    rivals: Tensor
    relevant: Tensor
    image: Tensor


def hits(placement: Placement, k: int) -> Tensor:
    """Probability that a match is among the K best, (P, Q) in [0, 1].

    With m = K - better places left for r tied matches and n tied distractors: 1 - C(n, m) / C(n + r, m), which is
    m / (n + 1) for one match.

    Raises:
        ValueError: for a k below 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    places = (k - placement.better).clamp(min=0)
    tied = placement.rivals + placement.relevant
    missed = torch.ones_like(tied)
    for match in range(int(placement.relevant.max())):  # C(n, m) / C(n + r, m) as a product of r factors
        factor = ((tied - places - match) / (tied - match)).clamp(min=0)
        missed = torch.where(match < placement.relevant, missed * factor, missed)
    return torch.where(placement.relevant == 1, (places / tied).clamp(max=1), 1 - missed)  # exact for one match


def expected_rank(placement: Placement) -> Tensor:
    """Expected rank of the best-placed match, 1 + better + rivals / (relevant + 1), (P, Q); 1 is best.

    For one match this is 1 + better + half of its ties.
    """
    return 1 + placement.better + placement.rivals / (placement.relevant + 1)


def median_rank(placement: Placement) -> Tensor:
    """Median over the queries of the expected rank, (P,); infinite where most queries cannot be ranked."""
    ordered = expected_rank(placement).sort(dim=1).values
    middle = ordered.shape[1] - 1
    return (ordered[:, middle // 2] + ordered[:, (middle + 1) // 2]) / 2


def mean_reciprocal_rank(placement: Placement) -> Tensor:
    """Mean over the queries of 1 / expected rank, (P,) in [0, 1]; a query that cannot be ranked gives 0."""
    return expected_rank(placement).reciprocal().mean(dim=1)


def chance_recalls(ks: Sequence[int], image_of_text: Tensor, n_images: int) -> dict[str, dict[str, float]]:
    """Recall@K of a random ranking in each direction: ``{"i2t": {"R@1": ...}, "t2i": {...}}``.

    Images without a caption are no queries. With several captions an image, i2t is above K / n_texts.

    Args:
        ks: each K.
        image_of_text: (M,) the image of each caption, from 0.
        n_images: N, the gallery of t2i.

    Example:
        >>> {way: found["R@1"] for way, found in chance_recalls([1], torch.tensor([0, 0, 1]), 2).items()}
        {'i2t': 0.5, 't2i': 0.5}
    """
    captions = torch.bincount(image_of_text)
    ways = {
        "i2t": (len(image_of_text), captions[captions > 0]),
        "t2i": (n_images, torch.ones(1, dtype=torch.long)),
    }
    return {way: {f"R@{k}": chance_of_hit(k, *sizes) for k in ks} for way, sizes in ways.items()}


def chance_of_hit(k: int, gallery: int, matches: Tensor) -> float:
    """Recall@K of a random ranking: the mean over the queries of 1 - C(M - c, K) / C(M, K), K / M for one match.

    Args:
        k: K, at least 1; all are found where K reaches M.
        gallery: M, items in the gallery.
        matches: (Q,) matches c of each query among them, at least 1.

    Example:
        >>> round(chance_of_hit(5, 1000, torch.tensor([1, 1])), 12)
        0.005
    """
    relevant, counts = torch.unique(matches.double().cpu(), return_counts=True)
    tied = Placement(torch.zeros(1, len(relevant)), gallery - relevant[None], relevant[None], torch.empty(0))
    return math.fsum((hits(tied, k)[0] * counts).tolist()) / len(matches)
