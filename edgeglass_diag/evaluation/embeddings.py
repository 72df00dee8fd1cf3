"""The embeddings that are evaluated: images, captions, and which caption belongs to which image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgeglass_diag.evaluation.pairs import PairSample, sample_pairs


@dataclass(frozen=True)
class Embeddings:
    """Image (N, D) and text (M, D), the image of each caption (M,), and the trained prefix widths if known.

    Raises:
        ValueError: for sides that are not matrices of floats of one width, an empty side, or captions that do not
            name images.
    """

    image: Tensor
    text: Tensor
    image_of_text: Tensor
    dims: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, side in (("image", self.image), ("text", self.text)):
            if side.dim() != 2 or not side.is_floating_point() or side.numel() == 0:
                got = f"{str(side.dtype).removeprefix('torch.')} of shape {tuple(side.shape)}"
                raise ValueError(f"{name}: expected floats of shape (N, D), none of them 0, got {got}")
        if self.image.shape[1] != self.text.shape[1]:
            raise ValueError(f"image and text must be equally wide, got {self.image.shape[1]} and {self.text.shape[1]}")
        index, texts, images = self.image_of_text, len(self.text), len(self.image)
        if index.shape != (texts,) or index.is_floating_point():
            got = f"{str(index.dtype).removeprefix('torch.')} of shape {tuple(index.shape)}"
            raise ValueError(f"image_index: expected one integer for each of {texts} captions, got {got}")
        if int(index.min()) < 0 or int(index.max()) >= images:
            raise ValueError(f"image_index: expected 0 to {images - 1}, got {int(index.min())} to {int(index.max())}")

    @property
    def width(self) -> int:
        """Return the width D."""
        return self.image.shape[1]

    def to(self, device: torch.device | str) -> Embeddings:
        """Return the embeddings on another device."""
        return Embeddings(self.image.to(device), self.text.to(device), self.image_of_text.to(device), self.dims)


def make_embeddings(
    image: Tensor, text: Tensor, image_index: Tensor | None = None, dims: tuple[int, ...] = ()
) -> Embeddings:
    """Return the embeddings whose captions belong to the image of the same row if there is no index.

    Raises:
        ValueError: as Embeddings does, and where the sides are of unequal length and nothing says what belongs where.
    """
    if image_index is None:
        count, captions = image.shape[:1].numel(), text.shape[:1].numel()
        if count != captions:
            raise ValueError(f"{count} images and {captions} captions need an image_index, one for each caption")
        image_index = torch.arange(captions)
    return Embeddings(image, text, image_index, dims)


def finite_rows(values: Tensor, *, block: int = 1024) -> Tensor:
    """Return which rows have only finite values, (N,) of bool."""
    return torch.cat([torch.isfinite(part).all(dim=1) for part in torch.split(values, block)])


def numpy_sample(embeddings: Embeddings) -> PairSample:
    """Return a sample of the pairs as numpy arrays, for figures."""
    sides = (embeddings.image, embeddings.text)
    image, text = (s.cpu().to(torch.promote_types(s.dtype, torch.float32)).numpy() for s in sides)  # numpy has no bf16
    return sample_pairs(image, text, embeddings.image_of_text.cpu().numpy())
