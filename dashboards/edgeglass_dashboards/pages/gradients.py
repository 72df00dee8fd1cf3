"""Gradients and updates: what reaches each parameter, and how much of it a step replaces."""

from __future__ import annotations

from edgeglass_dashboards.pages.heat import HeatPage
from edgeglass_dashboards.panels import LinePanel
from edgeglass_diag.figures.clipping import clipping_figure, clipping_points
from edgeglass_diag.figures.of_run import NORMS
from edgeglass_diag.signals.parameters import GRADIENT_NORM, UPDATE_RATIO, WEIGHT_NORM

PAGE = HeatPage(
    name="gradients",
    title="Gradients & updates",
    question="Does a gradient reach every parameter, and does each step change the weights by a sensible part?",
    choices=(UPDATE_RATIO, GRADIENT_NORM, WEIGHT_NORM),
    fills="No gradients yet. They appear with the first recorded optimizer step.",
    below=(
        LinePanel(
            "clipping", NORMS, clipping_figure, clipping_points,
            "No gradient norm yet. It appears with the first recorded optimizer step.",
        ),
    ),
    signals=NORMS,
)  # fmt: skip
