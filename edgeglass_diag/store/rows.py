"""What the store keeps as JSON, and the typed records that are made of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from edgeglass_diag.records import (
    Bounds,
    ConfiguredRule,
    Finding,
    ParameterOrigin,
    ParameterWrite,
    Severity,
    Site,
    SourceLine,
)
from edgeglass_diag.site_types import restored
from edgeglass_diag.sites import Coverage, Kind
from edgeglass_diag.store.schema import COLUMNS

SITES = COLUMNS["sites"]
"""Columns of the table of sites."""


def site(path: str, kind: str, order: int, parents: str, coverage: str, detail: str, facts: str) -> Site:
    """Return the site of a row of version 3; ``parents`` and ``facts`` are JSON."""
    return restored(
        Kind(kind),
        json.loads(facts),
        path=path,
        order=order,
        parents=tuple(json.loads(parents)),
        coverage=Coverage(coverage),
        detail=detail,
    )


def finding(record: str) -> Finding:
    """Return the finding whose fields are kept as JSON; fields that came later may be missing."""
    kept = json.loads(record)
    place = kept.get("place")
    return Finding(
        **{
            **kept,
            "severity": Severity(kept["severity"]),
            "sites": tuple(kept.get("sites", ())),
            "place": None if place is None else SourceLine(**place),
        }
    )


def origin(name: str, shape: str, std: float | None, writes: str) -> ParameterOrigin:
    """Return where a parameter's initial value comes from; SQLite keeps a NaN as nothing."""
    made = tuple(ParameterWrite(**write) for write in json.loads(writes))
    return ParameterOrigin(name, tuple(json.loads(shape)), float("nan") if std is None else std, made)


def rules(kept: Iterable[Mapping[str, Any]]) -> dict[str, ConfiguredRule]:
    """Return by code the rules that ``run.json`` holds as dictionaries."""
    return {entry["code"]: _rule(entry) for entry in kept}


def _rule(entry: Mapping[str, Any]) -> ConfiguredRule:
    bounds = {signal: Bounds(**ends) for signal, ends in entry["bounds"].items()}
    return ConfiguredRule(**{**entry, "signals": tuple(entry["signals"]), "bounds": bounds})
