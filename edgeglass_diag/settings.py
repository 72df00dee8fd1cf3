"""Settings of runs as flat mappings ``section.key -> value``, and their differences. No torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

Settings = Mapping[str, Any]


def flatten(settings: Settings, prefix: str = "") -> dict[str, Any]:
    """Return nested sections as one mapping with keys ``section.key``.

    Example:
        >>> flatten({"optim": {"lr": 0.1}, "seed": 0})
        {'optim.lr': 0.1, 'seed': 0}
    """
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= flatten(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def nested(flat: Settings) -> dict[str, Any]:
    """Return nested sections from keys ``section.key``: the inverse of ``flatten``.

    Example:
        >>> nested({"optim.lr": 0.1, "seed": 0})
        {'optim': {'lr': 0.1}, 'seed': 0}
    """
    whole: dict[str, Any] = {}
    for name, value in flat.items():
        *sections, key = name.split(".")
        place = whole
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
    return whole


def same(one: object, other: object) -> bool:
    """Return whether two plain values are equal; a list equals a tuple of the same items."""
    return json.dumps(one, sort_keys=True, default=str) == json.dumps(other, sort_keys=True, default=str)


def differing(settings: Iterable[Settings], *, ignore: Iterable[str] = ()) -> dict[str, list[Any]]:
    """Return the settings that are not equal in all runs: name -> value of each run, None where it is missing."""
    flat = [flatten(each) for each in settings]
    names = sorted(set().union(*flat) - set(ignore))
    rows = {name: [values.get(name) for values in flat] for name in names}
    return {name: values for name, values in rows.items() if not all(same(value, values[0]) for value in values)}
