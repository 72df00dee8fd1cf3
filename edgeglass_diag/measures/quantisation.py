"""What remains of embeddings stored in fewer bits; the results are floats again, whose cosine is that of the codes."""

from __future__ import annotations

import torch
from torch import Tensor

BITS = {"float32": 32.0, "int8": 8.0, "binary": 1.0}
"""Stored bits of each dimension."""


def to_int8(image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
    """Rows rounded to 255 levels: s round(x / s) with s = max |x| / 127 of each dimension over both sides.

    Symmetric and with one scale for both sides, so that a score is a weighted product of two int8 codes. Slicing a
    prefix and rounding commute.

    Source: scalar quantisation as in https://sbert.net/examples/sentence_transformer/applications/embedding-quantization.

    Args:
        image: (N, D) unit rows; a row of NaN stays so and sets no scale.
        text: (M, D), likewise.
    """
    largest = torch.maximum(_largest(image), _largest(text))
    step = torch.where(largest == 0, 1, largest) / 127
    return (image / step).round_().mul_(step), (text / step).round_().mul_(step)


def to_binary(image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
    """Signs, +1 above zero and -1 elsewhere: the cosine of d signs is 1 - 2 / d times their Hamming distance.

    Few distances are possible, so many items tie.

    Source: as for to_int8.

    Args:
        image: (N, D); a row of NaN stays so.
        text: (M, D), likewise.
    """
    return _signs(image), _signs(text)


def _largest(side: Tensor) -> Tensor:
    """max |x| of each dimension, without NaN."""
    return torch.maximum(side.nan_to_num(nan=0.0).amax(0), -side.nan_to_num(nan=0.0).amin(0))


def _signs(side: Tensor) -> Tensor:
    return torch.where(side.isnan(), side, (side > 0).to(side.dtype) * 2 - 1)
