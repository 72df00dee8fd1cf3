"""What bounds the recalls of an evaluation, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def bound_lines(result: dict[str, Any]) -> Iterator[str]:
    """Yield what is not finite, and one line for each side with equal rows: what they bound, and the way out."""
    bad = result["nonfinite"]
    if any(bad.values()):
        counts = f"{bad['image']} of {result['n_images']} images, {bad['text']} of {result['n_texts']} captions"
        yield f"NOT FINITE: {counts}; as queries they are misses, as candidates they stand last"
    for side, what, way in (("image", "images", "t2i"), ("text", "captions", "i2t")):
        found = result["duplicates"][side]
        if found is None:
            continue
        each = f", {found['copies']} of each" if found["copies"] else f", up to {found['largest']} of one"
        words = f"DUPLICATES: {found['rows']} {what} have {found['distinct']} distinct embeddings{each}: {way} R@1 "
        words += f"cannot exceed {found['bound']:.3f} (it is {result[way]['R@1']:.3f})"
        if found["distinct"] == 1:
            yield f"{words}; all are the same, the side is constant"
        elif side == "image":
            copies = found["copies"]
            index = f": row // {copies}" if copies and found["consecutive"] else ""
            yield f"{words}; if they stand for the captions of one image, keep it once and give image_index{index}"
        else:
            yield f"{words}; captions that several images share cannot tell them apart"
