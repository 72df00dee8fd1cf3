"""Embeddings to evaluate: images, captions, and the image of each caption."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgeglass_diag.evaluation.pairs import PairSample, sample_pairs


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of N images and M captions.

    Attributes:
        image: (N, D) floats.
        text: (M, D) floats.
        image_of_text: (M,) integers, the row of each caption's image.
        dims: prefix widths of the Matryoshka loss; empty if unknown.

    Raises:
        ValueError: if a side is not a non-empty matrix of floats, the widths differ, or ``image_of_text`` is not one
            row of ``image`` for each caption.
    """

    image: Tensor
    text: Tensor
    image_of_text: Tensor
    dims: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, side in (("image", self.image), ("text", self.text)):
            if side.dim() != 2 or not side.is_floating_point() or side.numel() == 0:
                got = f"{str(side.dtype).removeprefix('torch.')} of shape {tuple(side.shape)}"
                raise ValueError(f"{name}: expected floats of shape (N, D) with N, D > 0, got {got}")
        if self.image.shape[1] != self.text.shape[1]:
            raise ValueError(
                f"image and text: expected equal widths, got {self.image.shape[1]} and {self.text.shape[1]}"
            )
        index, texts, images = self.image_of_text, len(self.text), len(self.image)
        if index.shape != (texts,) or index.is_floating_point():
            got = f"{str(index.dtype).removeprefix('torch.')} of shape {tuple(index.shape)}"
            raise ValueError(f"image_index: expected one integer for each of {texts} captions, got {got}")
        if int(index.min()) < 0 or int(index.max()) >= images:
            raise ValueError(f"image_index: expected 0 to {images - 1}, got {int(index.min())} to {int(index.max())}")

    @property
    def width(self) -> int:
        """Width D."""
        return self.image.shape[1]

    def to(self, device: torch.device | str) -> Embeddings:
        """Return the embeddings on another device."""
        return Embeddings(self.image.to(device), self.text.to(device), self.image_of_text.to(device), self.dims)


def make_embeddings(
    image: Tensor, text: Tensor, image_index: Tensor | None = None, dims: tuple[int, ...] = ()
) -> Embeddings:
    """Return embeddings; without ``image_index`` each caption belongs to the image of the same row.

    Raises:
        ValueError: as ``Embeddings``, and for sides of unequal length without ``image_index``.
    """
    if image_index is None:
        count, captions = image.shape[:1].numel(), text.shape[:1].numel()
        if count != captions:
            raise ValueError(f"image_index: expected one for {count} images and {captions} captions, got none")
        image_index = torch.arange(captions)
    return Embeddings(image, text, image_index, dims)


def finite_rows(values: Tensor, *, block: int = 1024) -> Tensor:
    """Return which rows of (N, D) have only finite values, (N,) of bool."""
    return torch.cat([torch.isfinite(part).all(dim=1) for part in torch.split(values, block)])


def numpy_sample(embeddings: Embeddings) -> PairSample:
    """Return a sample of the pairs as numpy arrays, for figures."""
    sides = (embeddings.image, embeddings.text)
    image, text = (s.cpu().to(torch.promote_types(s.dtype, torch.float32)).numpy() for s in sides)  # numpy has no bf16
    return sample_pairs(image, text, embeddings.image_of_text.cpu().numpy())
