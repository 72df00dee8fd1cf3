"""The texts shown with the figures of an evaluation. No torch."""

from __future__ import annotations

from collections.abc import Mapping

from edgeglass_diag.evaluation.pairs import PairSample


def sample_size(sample: PairSample) -> str:
    """Return how many pairs are shown.

    Example:
        >>> import numpy as np
        >>> from edgeglass_diag.evaluation.pairs import sample_pairs
        >>> sample_size(sample_pairs(np.eye(3), np.eye(3), limit=2))
        '2 of 3 pairs, drawn at random'
    """
    finite = sample.total - sample.dropped
    whole = f"{finite} pair{'' if finite == 1 else 's'}"
    shown = f"{len(sample)} of {sample.total} pairs, drawn at random" if len(sample) < finite else whole
    return f"{shown}; {sample.dropped} left out: not finite" if sample.dropped else shown


def projection_notes(sample: PairSample, low_variation: Mapping[str, float]) -> tuple[str, ...]:
    """Return the sample size, and a note for each side that varies too little to be projected faithfully.

    Args:
        sample: pairs of the projection.
        low_variation: for such a side, ``image`` or ``text``, the share of its energy that varies; 0 if it is constant.
    """
    return sample_size(sample), *(
        f"the {side} side hardly varies ({share:.1%} of its energy): t-SNE and UMAP exaggerate it"
        if share
        else f"the {side} side is constant: all its embeddings are one point"
        for side, share in low_variation.items()
    )


def too_few_pairs(count: int) -> str:
    """Return why fewer than two pairs are not projected."""
    return f"{count or 'no'} pair to show: a projection needs at least 2"


def too_few_points(count: int, minimum: int) -> str:
    """Return why ``count`` distinct points are not projected.

    Args:
        count: number of distinct points.
        minimum: number that the method needs.
    """
    if count == 1:
        return "both sides are one and the same point"
    return f"{count} distinct points are too few for neighbourhoods, which need at least {minimum}"
