"""Values that JSON can hold, and findings as such values."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from edgeglass_diag.records import Finding


def plain(value: Any) -> Any:
    """Return a value that JSON can hold: NaN and infinities by name, tuples as lists, keys as text.

    Example:
        >>> plain({1: (0.5, float("nan"))})
        {'1': [0.5, 'nan']}
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def finding_summary(finding: Finding) -> dict[str, Any]:
    """Return a finding as plain values."""
    return plain(dataclasses.asdict(finding))  # type: ignore[no-any-return]
