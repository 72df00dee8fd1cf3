"""Names of many parameters as a reader wants them: by tower, by the module that holds them all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable


def common_place(names: list[str]) -> str:
    """The module that all parameters lie in: their longest common path, or the parameter itself."""
    if len(names) == 1:
        return names[0]
    parts = [name.split(".") for name in names]
    shared = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return ".".join(shared)


def places(names: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Parameters by the tower or head that they lie in, each with the innermost module that holds all of them."""
    towers: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        towers[name.split(".")[0]].append(name)
    return [(common_place(inside), inside) for inside in towers.values()]


def listed(names: list[str]) -> str:
    """A name, and how many more."""
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
