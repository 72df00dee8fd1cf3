"""Names of many parameters as a reader wants them: by tower, by the module that holds them all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from edgeglass_diag.site_paths import common, parts


def places(names: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Return the parameters by the tower or head that they lie in, each with the innermost module that holds them."""
    towers: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        towers[parts(name)[0]].append(name)
    return [(common(inside), inside) for inside in towers.values()]


def listed(names: list[str]) -> str:
    """Return the first name, and how many more there are.

    >>> listed(["head.weight", "head.bias"])
    'head.weight and 1 more'
    """
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
