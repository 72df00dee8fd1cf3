"""The tables of sinks that are files: one row for each number, and one for each finding."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

from edgeglass_diag.plain_values import finding_summary
from edgeglass_diag.records import Finding, Reading

SIGNALS = ("step", "signal", "site", "component", "value")
"""Columns of a number; ``component`` is the head, 0 where there is one number."""

FINDINGS = tuple(field.name for field in fields(Finding))
"""Columns of a finding."""

STEPS = ("step", "since", "learned_since", "early_until")
"""Those of them that are steps; all others are text, as JSON where they hold several things."""

Row = tuple[int, str, str, int, float]


def signal_rows(step: int, readings: Iterable[Reading]) -> Iterator[Row]:
    """Yield the row of each number."""
    for reading in readings:
        for component, value in enumerate(reading.values):
            yield step, str(reading.signal), reading.site, component, value


def finding_row(finding: Finding) -> dict[str, Any]:
    """Return the row of a finding: numbers, text and None."""
    return {name: _cell(name, value) for name, value in finding_summary(finding).items()}


def _cell(name: str, value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value)
    return value if value is None or name in STEPS else str(value)
