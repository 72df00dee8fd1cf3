"""How a logarithmic axis is labelled."""

from __future__ import annotations

from typing import Any

import numpy as np

_DECADE, _MANY = 0.5, 3.0
"""Decades below which plotly labels single values, and above which it labels powers."""


def log_ticks(values: Any) -> str | None:
    """Return plotly's ``dtick`` so that labels do not touch.

    Single values within half a decade, 2 and 5 over a few decades, powers over many.

    Args:
        values: that are drawn; what has no place on the axis is left out.

    >>> log_ticks([1.0, 1.5]), log_ticks([1.0, 20.0, float("nan")]), log_ticks([1e-6, 1.0])
    (None, 'D2', None)
    """
    known = np.asarray(values, float)
    known = known[np.isfinite(known) & (known > 0)]
    decades = float(np.log10(known.max()) - np.log10(known.min())) if len(known) else 0.0
    return None if decades < _DECADE or decades > _MANY else "D2"
