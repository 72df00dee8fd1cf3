"""Decoding of image files to RGB, for every mode, orientation and size."""

import io

import numpy as np
import pytest
from PIL import Image

from edgeglass_models.data.pictures import check_header, decode
from edgeglass_models.towers import load_tower

ORIENTATION = 0x0112


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixel(data, at=(1, 1)):
    image = decode(data)
    assert image.mode == "RGB"
    return image.getpixel(at)


def test_modes_without_transparency():
    assert pixel(encoded(Image.new("L", (4, 4), 77))) == (77, 77, 77)
    assert pixel(encoded(Image.new("1", (4, 4), 1))) == (255, 255, 255)
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([9, 8, 7])
    assert pixel(encoded(palette)) == (9, 8, 7)
    cmyk = pixel(encoded(Image.new("RGB", (16, 16), (200, 30, 30)).convert("CMYK"), "JPEG", quality=95))
    assert np.allclose(cmyk, (200, 30, 30), atol=6)


def test_transparency_lies_on_white():
    assert pixel(encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 0)))) == (255, 255, 255)
    assert pixel(encoded(Image.new("LA", (4, 4), (0, 51)))) == (204, 204, 204)
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([9, 9, 9])
    assert pixel(encoded(palette, transparency=0)) == (255, 255, 255)
    assert pixel(encoded(Image.new("RGB", (4, 4), (1, 2, 3)), transparency=(1, 2, 3))) == (255, 255, 255)


def test_sixteen_bits_are_scaled_and_not_clipped():
    """Pillow's own convert makes everything from 255 on white."""
    deep = Image.fromarray(np.full((4, 4), 128 * 257, dtype=np.uint16))
    assert pixel(encoded(deep)) == (128, 128, 128)
    assert pixel(encoded(deep, "TIFF")) == (128, 128, 128)
    with pytest.raises(ValueError, match="floating-point pixels"):
        decode(encoded(Image.new("F", (4, 4), 0.5), "TIFF"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_followed(orientation):
    image = Image.new("RGB", (16, 8), "white")
    image.paste("black", (0, 0, 8, 4))  # dark top left
    undo = {
        1: [], 2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM], 5: [Image.Transpose.TRANSPOSE], 6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE], 8: [Image.Transpose.ROTATE_270],
    }  # fmt: skip
    stored = image
    for step in undo[orientation]:
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    seen = decode(encoded(stored, "JPEG", exif=exif, quality=95))
    assert seen.size == (16, 8)
    assert np.allclose(np.asarray(seen, dtype=int), np.asarray(image, dtype=int), atol=40)


def test_damaged_exif_does_not_matter():
    data = encoded(Image.new("RGB", (8, 8), (10, 200, 10)), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    with pytest.warns(UserWarning, match="Corrupt EXIF data"):  # Pillow's own
        assert np.allclose(pixel(data), (10, 200, 10), atol=6)


def test_the_first_frame_of_an_animation():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    assert pixel(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF"])
def test_a_cut_off_picture_is_no_grey_half(kind):
    noise = Image.effect_noise((64, 64), 50).convert("RGB")
    data = encoded(noise, kind)
    with pytest.raises(ValueError, match="picture"):
        decode(data[: len(data) * 2 // 3])


def test_what_is_not_a_picture_is_known_by_its_header():
    for data, message in ((b"", "an empty file"), (b"<html>", "not a picture"), (b"\xff\xd8\xff", "not a picture")):
        with pytest.raises(ValueError, match=message):
            check_header(data)
    check_header(encoded(Image.new("RGB", (2, 2)))[:60])  # its end is not looked at


def test_more_pixels_than_pillow_allows_are_refused():
    bomb = encoded(Image.new("1", (20000, 20000)))
    assert len(bomb) < 100_000
    with pytest.raises(ValueError, match="exceeds limit of 178956970 pixels"):
        check_header(bomb)


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (5000, 3000)])
def test_odd_sizes_reach_the_tower(size):
    tower = load_tower("tiny_clip")
    tensor = tower.transform(decode(encoded(Image.new("RGB", size, (255, 0, 0)))))
    assert tensor.shape == (3, 64, 64)
    assert tensor.isfinite().all()
    assert tensor[0].std() < 1e-5
