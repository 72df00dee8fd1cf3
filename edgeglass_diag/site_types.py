"""The type of the sites of each kind, and sites from what was written of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeglass_diag.compared import Compared
from edgeglass_diag.loss_kinds import LossFunction, Task
from edgeglass_diag.sites import (
    AttentionSite,
    BatchSite,
    DropoutPlace,
    DropoutSite,
    EmbeddingSite,
    Kind,
    LossSite,
    ModuleSite,
    PairSite,
    ParameterSite,
    RecorderSite,
    ReshapeSite,
    Side,
    Site,
    SoftmaxSite,
)

SITE_TYPES: Mapping[Kind, type[Site]] = {
    kind.kind: kind
    for kind in (
        ModuleSite, ParameterSite, AttentionSite, LossSite, EmbeddingSite, PairSite, BatchSite, ReshapeSite,
        SoftmaxSite, DropoutSite, RecorderSite,
    )
}  # fmt: skip
"""The type of the sites of each kind."""

_ENUMS = {"compared": Compared, "side": Side, "function": LossFunction, "place": DropoutPlace, "task": Task}


def restored(kind: Kind, facts: Mapping[str, Any], **common: Any) -> Site:
    """Return the site whose ``facts`` were written as JSON.

    Args:
        kind: its kind.
        facts: as the property of that name, with lists for tuples.
        common: the fields that all sites have.

    Raises:
        ValueError: for a value that is not of the set it is from.
        TypeError: for a fact that sites of this kind do not have.

    Example:
        >>> site = EmbeddingSite(path="head[:64]", module="head", width=64, side=Side.IMAGE)
        >>> restored(site.kind, site.facts, path=site.path) == site
        True
    """
    typed: dict[str, Any] = {
        name: _ENUMS[name](value) if name in _ENUMS else tuple(value) if isinstance(value, list) else value
        for name, value in facts.items()
    }
    return SITE_TYPES[kind](**typed, **common)
