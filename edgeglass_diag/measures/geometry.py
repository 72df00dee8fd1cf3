"""Geometry of embeddings and activations. All inputs are floating tensors, all results 0-d tensors on their device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def between_sample_variance_ratio(values: Tensor, *, dim: int = 0) -> Tensor:
    """Share of the energy that depends on the sample: mean_b |y_b - y_mean|^2 / mean_b |y_b|^2, in [0, 1].

    0 where every sample of the batch gives the same output, and for an all-zero output.

    Args:
        values: activations with the batch along ``dim``, at least two samples.
        dim: the batch dimension.

    Raises:
        ValueError: for fewer than two samples.
    """
    if values.dim() == 0 or values.shape[dim] < 2:
        raise ValueError(f"sample signal needs at least 2 samples along dim {dim}, got shape {tuple(values.shape)}")
    variance, mean = torch.var_mean(_full(values), dim=dim, correction=0)
    spread = variance.sum()
    energy = spread + mean.square().sum()
    return torch.where(energy == 0, torch.zeros_like(energy), spread / energy)


def spread(values: Tensor) -> Tensor:
    """Root mean square distance of the rows of (B, D) from their mean, in the unit of the values."""
    return _full(values).var(dim=0, correction=0).sum().sqrt()


def distance_ratio(left: Tensor, right: Tensor) -> Tensor:
    """Mean squared distance of partners over that of strangers, E|a_i - b_i|^2 / E|a_i - b_j|^2: in [0, 2).

    1 where partners are as far apart as strangers; NaN where all rows are one point.

    Args:
        left: (B, D).
        right: (B, D), row i the partner of row i.
    """
    left, right = _full(left), _full(right)
    strangers = spread(left).square() + spread(right).square() + (left.mean(0) - right.mean(0)).square().sum()
    return (left - right).square().sum(-1).mean() / strangers


def effective_rank(values: Tensor) -> Tensor:
    """exp of the entropy of the singular values divided by their sum, in [1, min(N, D)]; 1 for an all-zero matrix.

    Source: Roy & Vetterli, The effective rank: a measure of effective dimensionality,
    https://infoscience.epfl.ch/handle/20.500.14299/13006; as RankMe: https://arxiv.org/abs/2210.02885.

    Args:
        values: (N, D), not centred.
    """
    return rank_of_gram(gram(values))


def gram(values: Tensor) -> Tensor:
    """The smaller of the two Gram matrices of (N, D), in float64: its eigenvalues are the squared singular values."""
    matrix = values.double()
    return matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix


def rank_of_gram(matrix: Tensor) -> Tensor:
    """Effective rank from a Gram matrix (n, n); NaN where it is not finite. Waits for an accelerator: use the host."""
    if not torch.isfinite(matrix).all():
        return torch.full((), float("nan"), dtype=torch.float64, device=matrix.device)
    singular = torch.linalg.eigvalsh(matrix).clamp(min=0).sqrt()
    total = singular.sum()
    share = singular / torch.where(total == 0, torch.ones_like(total), total)
    return torch.exp(torch.special.entr(share).sum())


def mean_cosine(values: Tensor) -> Tensor:
    """Mean cosine of all N (N-1) pairs of different rows of (N, D): (|sum_i u_i|^2 - N) / (N (N-1)).

    Raises:
        ValueError: for fewer than two rows.
    """
    count = values.shape[0]
    if count < 2:
        raise ValueError(f"mean cosine needs at least 2 rows, got {count}")
    unit = normalize(_full(values), dim=-1)
    return (unit.sum(dim=0).square().sum() - unit.square().sum()) / (count * (count - 1))


def modality_gap(image: Tensor, text: Tensor) -> Tensor:
    """Distance of the two sides' centroids on the unit sphere, |mean image - mean text|, in [0, 2].

    Source: Mind the Gap, https://arxiv.org/abs/2203.02053. A gap alone is no fault.

    Args:
        image: (N, D).
        text: (M, D).
    """
    gap = normalize(_full(image), dim=-1).mean(0) - normalize(_full(text), dim=-1).mean(0)
    distance: Tensor = torch.linalg.vector_norm(gap)
    return distance


def alignment(image: Tensor, text: Tensor) -> Tensor:
    """Mean squared distance of the unit-norm pairs, E |x - y|^2, in [0, 4].

    Source: Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere, https://arxiv.org/abs/2005.10242.

    Args:
        image: (N, D).
        text: (N, D), row i the pair of row i.
    """
    return (normalize(_full(image), dim=-1) - normalize(_full(text), dim=-1)).square().sum(-1).mean()


def uniformity(values: Tensor, *, block: int = 1024) -> Tensor:
    """ln E exp(-2 |x - x'|^2) over pairs of different unit-norm rows, in [-8, 0]; 0 when all are equal, zeros too.

    Source: as for alignment.

    Args:
        values: (N, D) with N at least 2.
        block: rows compared with as many others at once; memory grows with its square and not with N.
    """
    parts = torch.split(normalize(_full(values), dim=-1), block)
    total = torch.zeros((), dtype=torch.float64, device=values.device)
    for index, left in enumerate(parts):
        total += _closeness(left, left).triu(1).sum()
        for right in parts[index + 1 :]:
            total += _closeness(left, right).sum()
    count = len(values)
    return torch.log(2 * total / (count * (count - 1)))


def _closeness(left: Tensor, right: Tensor) -> Tensor:
    """exp(-2 |x - y|^2) of all rows of both sides, whose norms are 1 or, for a row of zeros, 0."""
    lengths = left.square().sum(-1).round()[:, None] + right.square().sum(-1).round()
    return torch.exp(-2 * (lengths - 2 * (left @ right.T)).clamp(min=0))


def effective_num_rows(values: Tensor, *, population: int | None = None) -> Tensor:
    """Effective number of distinct rows, L^2 / sum_ij cos_ij^2: 1 when all are parallel, L when orthogonal.

    The participation ratio of the Gram matrix of the unit-norm rows. From n of L rows it is L / (1 + (L - 1) c), with
    c the mean squared cosine of two different rows among the n.

    Args:
        values: (..., n, D).
        population: L, of which the rows are a sample of at least two; n where None.

    Returns:
        (...) with values in [1, L].
    """
    unit = normalize(_full(values), dim=-1)
    length, width = unit.shape[-2:]
    gram = unit @ unit.mT if length <= width else unit.mT @ unit
    trace = unit.square().sum(dim=(-2, -1))
    found = trace.square() / gram.square().sum(dim=(-2, -1)).clamp(min=torch.finfo(unit.dtype).tiny)
    if population is None or population == length:
        return found
    cosine = ((length / found - 1) / (length - 1)).clamp(min=0)
    return population / (1 + (population - 1) * cosine)


def _full(values: Tensor) -> Tensor:
    return values if values.dtype in (torch.float32, torch.float64) else values.float()
