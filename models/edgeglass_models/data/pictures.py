"""Decode the bytes of an image file to RGB pixels."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from edgeglass_models.data.rows import one_line

_SIXTEEN_BITS = 257  # 65535 / 255


def check_header(data: bytes) -> None:
    """Check the header of an image file; pixels are not decoded, so damage after the header is not found.

    Raises:
        ValueError: if the bytes are not an image, or one with more pixels than Pillow allows (179 million).
    """
    _open(data).close()


def decode(data: bytes) -> Image.Image:
    """Return the image in RGB: EXIF orientation applied, transparency on white, CMYK converted, 16 bits scaled to 8.

    Of an animation it returns the first frame.

    Raises:
        ValueError: if the image is damaged, or its pixels are floats, whose range is unknown.
    """
    with _open(data) as opened:
        try:
            image = ImageOps.exif_transpose(opened)
        except Exception as error:  # Pillow raises any exception for a damaged file
            raise ValueError(f"not a whole picture ({one_line(error)})") from error
        if image.mode == "F":
            raise ValueError("floating-point pixels, whose range is unknown")
        if image.mode.startswith("I"):
            return Image.fromarray((np.asarray(image).clip(0, 65535) // _SIXTEEN_BITS).astype(np.uint8)).convert("RGB")
        if not image.has_transparency_data:
            return image.convert("RGB")
        layer = image.convert("RGBA")
    page = Image.new("RGB", layer.size, "white")
    page.paste(layer, mask=layer.getchannel("A"))
    return page


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise ValueError("not a picture" if data else "an empty file") from None
    except Exception as error:
        raise ValueError(f"not a usable picture ({one_line(error)})") from error
