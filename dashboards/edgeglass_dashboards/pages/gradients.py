"""Gradients and updates: what reaches each parameter, and how much of it a step replaces."""

from __future__ import annotations

from edgeglass_dashboards.pages.heat import HeatPage
from edgeglass_dashboards.panels import LinePanel
from edgeglass_diag.figures.clipping import clipping_figure, clipping_points

_SIGNALS = ("gradient/norm", "gradient/norm_clipped")

PAGE = HeatPage(
    name="gradients",
    title="Gradients & updates",
    question="Does a gradient reach every parameter, and does each step change the weights by a sensible part?",
    choices=("update/ratio", "gradient/norm", "weight/norm"),
    families=("EG2", "EG8"),
    fills="No gradients yet. They appear with the first recorded optimizer step.",
    below=(
        LinePanel(
            "clipping", _SIGNALS, clipping_figure, clipping_points,
            "No gradient norm yet. It appears with the first recorded optimizer step.",
        ),
    ),
    signals=_SIGNALS,
)  # fmt: skip
