"""Entries of a gallery that are the same to the last bit, and the recall that they leave possible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from edgeglass_diag.evaluation.embeddings import Embeddings, finite_rows


def duplicates(embeddings: Embeddings, *, block: int = 1024) -> dict[str, Any]:
    """Return for each side its equal rows, and the R@1 that they allow; None for a side without any.

    Of s equal candidates one is found first, so that a query whose own candidate is among them finds it with
    probability 1 / s, or o / s where o of them are its own. ``bound`` is the mean of that over the queries; of an image
    with several captions the best of them counts.

    - ``rows``, ``distinct``: of the side, finite rows alone.
    - ``largest``: rows that are equal; ``copies``: how many there are of each, None where that differs.
    - ``consecutive``: whether they lie next to each other.

    Args:
        embeddings: both sides.
        block: rows that are read at once.

    Example:
        >>> from edgeglass_diag.evaluation.embeddings import make_embeddings
        >>> pictures = torch.eye(3).repeat_interleave(2, 0)
        >>> found = duplicates(make_embeddings(pictures, torch.randn(6, 3)))["image"]
        >>> found["copies"], found["consecutive"], found["bound"]
        (2, True, 0.5)
    """
    owners = embeddings.image_of_text.tolist()
    images, texts = (_groups(side, block) for side in (embeddings.image, embeddings.text))
    return {"image": _side(images, _of_images(images, owners)), "text": _side(texts, _of_texts(texts, owners))}


def _groups(side: Tensor, block: int) -> list[int]:
    """Return for each row the first row that is equal to it, -1 for one that is not finite."""
    finite = finite_rows(side, block=block).tolist()
    first: dict[bytes, int] = {}
    found: list[int] = []
    for part in torch.split(side, block):
        for row in part.cpu().contiguous().view(torch.uint8).numpy():
            index = len(found)
            digest = blake2b(row.tobytes(), digest_size=16).digest() if finite[index] else b""
            found.append(first.setdefault(digest, index) if digest else -1)
    return found


def _side(groups: Sequence[int], bound: float) -> dict[str, Any] | None:
    sizes = Counter(group for group in groups if group >= 0)
    rows = sum(sizes.values())
    if rows == len(sizes):
        return None
    copies = set(sizes.values())
    return {
        "rows": rows,
        "distinct": len(sizes),
        "largest": max(copies),
        "copies": copies.pop() if len(copies) == 1 else None,
        "consecutive": all(group in (groups[i - 1], i) for i, group in enumerate(groups) if i),
        "bound": bound,
    }


def _of_images(groups: Sequence[int], owners: Sequence[int]) -> float:
    """Return the largest R@1 of captions that look for their image."""
    sizes = Counter(groups)
    return sum(1 / sizes[groups[owner]] if groups[owner] >= 0 else 0.0 for owner in owners) / len(owners)


def _of_texts(groups: Sequence[int], owners: Sequence[int]) -> float:
    """Return the largest R@1 of images that look for one of their captions."""
    sizes = Counter(groups)
    own = Counter(zip(owners, groups, strict=True))
    best: dict[int, float] = {}
    for (owner, group), count in own.items():
        share = count / sizes[group] if group >= 0 else 0.0
        best[owner] = max(best.get(owner, 0.0), share)
    return sum(best.values()) / len(best)
