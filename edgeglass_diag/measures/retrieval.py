"""Retrieval between images and their captions: both directions and all prefix widths in one pass over the dims.

The score of prefix d is the running sum over the dims up to d, divided by the norms of both prefixes, so that seven
widths cost hardly more than the widest. Scores are made in blocks of images times captions; a block serves both
directions, counts how many beat or tie with the match, sorts nothing, and is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from edgeglass_diag.measures.ranking import Placement

TIE = 2.0**-20
"""Cosines this close count as tied: about eight float32 roundings of a cosine near 1."""


def place_pairs(
    image: Tensor,
    text: Tensor,
    image_of_text: Tensor | None = None,
    *,
    dims: Sequence[int] | None = None,
    block: int = 1024,
) -> tuple[Placement, Placement]:
    """Where the matches stand when all are ranked by cosine: image to text, and text to image.

    An image is found by any of its captions: the best-placed one counts. A query that is not finite, or none of
    whose matches is, cannot be ranked and is a miss; a gallery item that is not finite stands behind all others.
    Images without a caption are candidates only.

    Args:
        image: (N, D), of any floating type.
        text: (M, D), on the same device.
        image_of_text: (M,) index of each caption's image, in [0, N); row i belongs to image i where None.
        dims: P prefix widths (sliced, then normalised); the full width where None.
        block: images and captions scored at once: 12 block^2 bytes beside float32 copies of both sides.

    Returns:
        Placements of the images that have a caption, and of the M captions; rows in the order of ``dims``.

    Raises:
        ValueError: for sides that do not fit together, an empty side, or a prefix wider than D.
    """
    owner = torch.arange(len(text), device=text.device) if image_of_text is None else image_of_text.long()
    widths = [image.shape[-1]] if dims is None else list(dims)
    _validate(image, text, owner, widths, block)
    ends = sorted(set(widths))
    order = owner.argsort(stable=True)  # captions of one image side by side: the matches in a block are a range
    owner = owner[order]
    images = _side(image, torch.arange(len(image), device=image.device), ends, block)
    texts = _side(text, order, ends, block)
    own = _own(images, texts, owner, block)
    by_image, by_text = _Tally.against(_best(own, owner, len(image))), _Tally.against(own)
    _count(images, texts, own, owner, (by_image, by_text), block)
    tied = torch.zeros_like(by_image.better).index_add_(1, owner, (own >= by_image.low[:, owner]).double())
    chosen = torch.tensor([ends.index(width) for width in widths], device=owner.device)
    i2t = _placement(by_image, tied, torch.arange(len(image), device=owner.device), torch.unique(owner), chosen)
    t2i = _placement(by_text, torch.ones_like(by_text.better), owner, order.argsort(), chosen)
    return i2t, t2i


def unit_rows(values: Tensor, *, block: int = 1024) -> Tensor:
    """Rows divided by their norm, in float32; all zeros stay zeros, and a row that is not finite becomes NaN.

    Through rows whose largest value is 1, since the squares of activations of 1e21 have no place in float32.

    Args:
        values: (N, D), of any floating type.
        block: rows taken at once.
    """
    side = _side(values, torch.arange(len(values), device=values.device), values.shape[1:], block)
    return side.rows.mul_(side.factor[0, :, None])


@dataclass(frozen=True)
class _Side:
    """Rows (N, D) scaled to a largest value of 1, and for each prefix the factor (P, N) that makes them unit."""

    rows: Tensor
    factor: Tensor
    ends: tuple[int, ...]


def _side(values: Tensor, order: Tensor, ends: Sequence[int], block: int) -> _Side:
    """Rows in ``order``. The NaN of a row that is not finite wins no comparison."""
    scaled = torch.empty(len(values), ends[-1], dtype=torch.float32, device=values.device)
    factor = torch.empty(len(ends), len(values), dtype=torch.float32, device=values.device)
    for part in _slices(len(values), block):
        rows = values[order[part]].to(torch.promote_types(values.dtype, torch.float32))
        peak = torch.maximum(rows.amax(1, keepdim=True), -rows.amin(1, keepdim=True))
        peak = torch.where(torch.isfinite(peak), _positive(peak), torch.nan)
        torch.div(rows[:, : ends[-1]], peak, out=scaled[part])
        energies = [_energy(scaled[part, low:high]) for low, high in pairwise((0, *ends))]
        factor[:, part] = _positive(torch.stack(energies).cumsum(0).sqrt()).reciprocal()
    return _Side(scaled, factor, tuple(ends))


def _energy(rows: Tensor) -> Tensor:
    """Sum of squares of each row in float64, of pieces short enough for float32: a tie leaves no room for more."""
    norms = [torch.linalg.vector_norm(piece, dim=1) for piece in torch.split(rows, 256, 1)]
    return torch.stack(norms).double().square().sum(0)


def _positive(norm: Tensor) -> Tensor:
    return torch.where(norm == 0, 1, norm)


def _own(images: _Side, texts: _Side, owner: Tensor, block: int) -> Tensor:
    """Cosine of each caption with its image, (P, M)."""
    own = torch.empty_like(texts.factor)
    for start in range(0, len(owner), block):
        rows, part = owner[start : start + block], slice(start, start + block)
        products = images.rows[rows].mul_(texts.rows[part])
        sums = torch.stack([products[:, low:high].sum(1) for low, high in pairwise((0, *texts.ends))]).cumsum(0)
        own[:, part] = sums * images.factor[:, rows] * texts.factor[:, part]
    return own


def _best(own: Tensor, owner: Tensor, images: int) -> Tensor:
    """Largest cosine of each image's captions, (P, N); minus infinity where none can be ranked."""
    best = own.new_full((len(own), images), -torch.inf)
    return best.scatter_reduce_(1, owner.expand_as(own), own.nan_to_num(nan=-torch.inf), "amax")


@dataclass(frozen=True)
class _Tally:
    """How many candidates lie above ``high``, and not below ``low``, for each query; all (P, Q)."""

    own: Tensor
    low: Tensor
    high: Tensor
    better: Tensor
    near: Tensor

    @classmethod
    def against(cls, own: Tensor) -> _Tally:
        zeros = torch.zeros_like(own, dtype=torch.float64)
        return cls(own, own - TIE, own + TIE, zeros, zeros.clone())

    def add(self, width: int, queries: slice, cosines: Tensor, flags: Tensor, dim: int) -> None:
        """Count along ``dim``. Comparing into floats and summing those is several times faster than summing bools."""
        low, high = (bound[width, queries].unsqueeze(dim) for bound in (self.low, self.high))
        self.better[width, queries] += torch.gt(cosines, high, out=flags).sum(dim)
        self.near[width, queries] += torch.ge(cosines, low, out=flags).sum(dim)


def _count(images: _Side, texts: _Side, own: Tensor, owner: Tensor, tallies: tuple[_Tally, _Tally], block: int) -> None:
    """Compare every image with every caption, block by block."""
    starts = torch.searchsorted(owner, torch.arange(len(images.rows) + 1, device=owner.device)).tolist()
    position = torch.arange(len(owner), device=owner.device)
    buffers = own.new_empty(3, min(block, len(images.rows)), min(block, len(owner)))
    for rows in _slices(len(images.rows), block):
        for columns in _slices(len(owner), block):
            raw, cosines, flags = buffers[:, : rows.stop - rows.start, : columns.stop - columns.start]
            mine = slice(max(columns.start, starts[rows.start]), min(columns.stop, starts[rows.stop]))
            places = owner[mine] - rows.start, position[mine] - columns.start
            for width, (low, high) in enumerate(pairwise((0, *images.ends))):
                left, right = images.rows[rows, low:high], texts.rows[columns, low:high]
                torch.addmm(raw, left, right.T, beta=float(width > 0), out=raw)
                torch.mul(raw, images.factor[width, rows, None], out=cosines)
                cosines.mul_(texts.factor[width, columns])
                if mine.start < mine.stop:  # a match ties with itself, however its score was rounded
                    cosines[places] = own[width, mine]
                for dim, (tally, queries) in enumerate(zip(tallies, (rows, columns), strict=True)):
                    tally.add(width, queries, cosines, flags, dim=1 - dim)


def _slices(length: int, block: int) -> Iterator[slice]:
    return (slice(start, min(start + block, length)) for start in range(0, length, block))


def _placement(tally: _Tally, relevant: Tensor, image: Tensor, queries: Tensor, widths: Tensor) -> Placement:
    """The tally of the chosen queries and widths, in that order."""
    ranked = torch.isfinite(tally.own)
    better = torch.where(ranked, tally.better, torch.inf)
    relevant = torch.where(ranked, relevant, 1)
    rivals = torch.where(ranked, tally.near - tally.better - relevant, 0)
    better, rivals, relevant = (part[widths][:, queries] for part in (better, rivals, relevant))
    return Placement(better, rivals, relevant, image[queries])


def _validate(image: Tensor, text: Tensor, owner: Tensor, widths: Sequence[int], block: int) -> None:
    shapes = f"{tuple(image.shape)} and {tuple(text.shape)}"
    if image.dim() != 2 or text.dim() != 2 or image.shape[1] != text.shape[1]:
        raise ValueError(f"image and text must be (N, D) and (M, D), got {shapes}")
    if image.numel() == 0 or text.numel() == 0:
        raise ValueError(f"image and text must not be empty, got {shapes}")
    if owner.shape != text.shape[:1]:
        raise ValueError(f"image_of_text must be ({len(text)},), one image per caption, got {tuple(owner.shape)}")
    if owner.min() < 0 or owner.max() >= len(image):
        raise ValueError(f"image_of_text must be in [0, {len(image)}), got {int(owner.min())} to {int(owner.max())}")
    if not widths or min(widths) < 1 or max(widths) > image.shape[1]:
        raise ValueError(f"dims must be in [1, {image.shape[1]}], got {list(widths)}")
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
