"""Which numbers a column or a setting may hold to be judged: what lies outside is named and left out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from edgeglass_diag.auditing.columns import Role
from edgeglass_diag.user_input.limits import SHOWN

LARGEST_COUNT = 2**53
"""Steps, epochs, pairs and batch sizes: whole numbers up to which a float holds each."""
LARGEST = 1e100
"""Losses, rates and scales: what float32 can hold is below 3.5e38, and a square of this is still a float."""
_COUNTS = ("batch_size", "n")
_CLOCKS = ("step", "epoch")


def fault_of(role: Role, values: Iterable[float]) -> str:
    """Return why a column of this role cannot be judged, empty where it can.

    NaN and infinities are data, but for counts; a clock may have rows without a time.

    >>> fault_of(Role("batch_size"), [64.0, float("inf")]), fault_of(Role("loss"), [0.5, float("inf")])
    ('expected whole numbers from 0 to 9007199254740992, got inf', '')
    """
    if role.kind in _COUNTS:
        odd = next((v for v in values if not (0 <= v <= LARGEST_COUNT and v.is_integer())), None)
        expected = f"whole numbers from 0 to {LARGEST_COUNT}"
    else:
        most = LARGEST_COUNT if role.kind in _CLOCKS else LARGEST
        odd = next((v for v in values if math.isfinite(v) and abs(v) > most), None)
        expected = f"numbers up to {most:.4g} in size"
    return "" if odd is None else f"expected {expected}, got {odd!r}"


def usable_settings(settings: Mapping[str, object]) -> tuple[dict[str, object], dict[str, str]]:
    """Return the settings whose numbers can be used, and the reason why for each of the others."""
    kept: dict[str, object] = {}
    left_out: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, int | float) and not abs(value) <= LARGEST_COUNT:
            left_out[key] = f"expected a number up to {LARGEST_COUNT} in size, got {str(value)[:SHOWN]}"
        else:
            kept[key] = value
    return kept, left_out
