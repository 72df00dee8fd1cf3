"""From the bytes of a picture's file to RGB pixels as a person sees them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from edgeglass_models.data.rows import one_line

_SIXTEEN_BITS = 257  # 65535 / 255


def check_header(data: bytes) -> None:
    """Make sure that the bytes begin as a picture does; pixels are not decoded, so their end may still be damaged.

    Raises:
        ValueError: they are not a picture, or one of more pixels than Pillow allows (179 million).
    """
    _open(data).close()


def decode(data: bytes) -> Image.Image:
    """The picture in RGB: turned as its EXIF orientation says, transparency on white, CMYK converted, 16 bits scaled.

    Of an animation the first frame.

    Raises:
        ValueError: the bytes are not a whole picture, or its pixels are floats, which have no white.
    """
    with _open(data) as opened:
        try:
            image = ImageOps.exif_transpose(opened)
        except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow's readers raise for damage
            raise ValueError(f"not a whole picture ({one_line(error)})") from error
        if image.mode == "F":
            raise ValueError("floating-point pixels, of which nothing says what is white")
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
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"not a usable picture ({one_line(error)})") from error
