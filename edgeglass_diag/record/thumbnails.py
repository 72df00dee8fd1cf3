"""Small pictures of the images that a model is called with."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edgeglass_diag.pair_samples import MOST_PAIRS, MOST_PIXELS
from edgeglass_diag.record.shards import is_measurable

_CHANNELS = (1, 3)
_LEAST = 2


def is_picture(value: Tensor) -> bool:
    """Return whether a tensor is a batch of images of 1 or 3 channels, which stand before or behind the pixels."""
    if value.dim() != 4 or not (value.is_floating_point() or value.dtype == torch.uint8) or not is_measurable(value):
        return False
    height, width = value.shape[2:] if value.shape[1] in _CHANNELS else value.shape[1:3]
    has_channels = value.shape[1] in _CHANNELS or value.shape[3] in _CHANNELS
    return has_channels and min(height, width) >= _LEAST


def thumbnails(pictures: Tensor) -> Tensor:
    """Return at most 256 images of at most 64 pixels, (N, height, width, channels) of uint8, on their device.

    How floats were normalised is not known: each image is stretched over its own range. Of a large image every so many
    pixels are looked at. Nothing is drawn at random, and the device is not waited for.

    Args:
        pictures: as ``is_picture`` has it.
    """
    rows = pictures.detach()[:MOST_PAIRS]
    if rows.shape[1] not in _CHANNELS:
        rows = rows.permute(0, 3, 1, 2)
    near = max(1, -(-max(rows.shape[2:]) // MOST_PIXELS) // 2)
    small = rows[..., ::near, ::near].float()
    factor = -(-max(small.shape[2:]) // MOST_PIXELS)
    if factor > 1:
        kernel = [min(factor, side) for side in small.shape[2:]]
        small = functional.avg_pool2d(small, kernel, ceil_mode=True)
    if pictures.dtype != torch.uint8:
        low, high = small.amin((1, 2, 3), keepdim=True), small.amax((1, 2, 3), keepdim=True)
        small = (small - low) / (high - low).clamp_min(torch.finfo(torch.float32).tiny) * 255
    return small.nan_to_num(0, 255, 0).clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
