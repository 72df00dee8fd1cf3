"""Names of many parameters as a reader wants them: by tower, by the module that holds them all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from edgeglass_diag.site_paths import common, parts


def places(names: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Return the parameters by the tower or head that they lie in, each with the innermost module that holds them."""
    towers: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        towers[parts(name)[0]].append(name)
    return [(common(inside), inside) for inside in towers.values()]


def listed(names: Sequence[str], one: str = "", many: str = "") -> str:
    """Return the first name, how many more there are, and the verb for one or for many.

    >>> listed(["head.weight", "head.bias"], "is", "are"), listed(["head.weight"], "is", "are")
    ('head.weight and 1 more are', 'head.weight is')
    """
    words = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    return f"{words} {one if len(names) == 1 else many}".rstrip()
