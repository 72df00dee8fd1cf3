"""Which reshapes keep elements with their own sample, position and head, and which scramble them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def scrambles(before: Sequence[int], after: Sequence[int]) -> bool:
    """Whether a reshape between two shapes puts a dimension elsewhere without moving its elements there.

    A reshape that is meant splits a dimension or merges neighbours. Where several dimensions become several others
    without a common boundary, and one of the sizes turns up again in another place, a transposition was left out:
    (positions, heads * width) seen as (heads, positions, width) mixes positions with heads.

    Two dimensions that become two, the last one among them, may as well be a factor that moves from one to the other,
    as heads merged into the batch; they are not counted, nor is a last dimension that is as large as another one was.

    Args:
        before: shape of the tensor.
        after: shape of the same elements in the same order.

    Example:
        >>> scrambles((8, 16, 64), (8, 16, 4, 16)), scrambles((8, 16, 64), (8, 4, 16, 16))
        (False, True)
    """
    old, new = _boundaries(before), _boundaries(after)
    if old[-1] != new[-1] or old[-1] == 0:
        return False
    for low, high in pairwise(sorted(set(old) & set(new))):
        given, taken = _sizes(old, low, high), _sizes(new, low, high)
        inner = int(low == 1)  # the block ends with the last dimension
        moved = set(given[inner:]) & set(taken[inner:])
        if moved and min(len(given), len(taken)) > 1 and len(given) + len(taken) > 4 * inner:
            return True
    return False


def _boundaries(shape: Sequence[int]) -> list[int]:
    """Products of the last k dimensions, from 1 to all; dimensions of one are left out."""
    result = [1]
    for size in reversed(shape):
        if size != 1:
            result.append(result[-1] * size)
    return result


def _sizes(boundaries: list[int], low: int, high: int) -> list[int]:
    inside = [b for b in boundaries if low <= b <= high]
    return [larger // smaller for smaller, larger in pairwise(inside)]
