"""Attribution of units that have no place in the picture, such as latents. Numbers in, plotly figures out."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from edgeglass_diag.figures.scales import DEVIATION

_ROW = 26


def units_figure(values: Sequence[Sequence[float]], template: go.layout.Template, *, unit: str) -> go.Figure:
    """Return pairs by units, coloured by how much a unit speaks for the pair (orange) or against it (blue).

    Args:
        values: cosine of each pair by unit, all of one length.
        template: one of ``TEMPLATES``.
        unit: what a unit is called.
    """
    largest = max((abs(value) for row in values for value in row), default=0.0) or 1.0
    names = [f"pair {row}" for row in range(len(values))]
    figure = go.Figure(layout={"template": template})
    figure.add_heatmap(
        z=[list(row) for row in values], y=names, colorscale=DEVIATION, zmin=-largest, zmax=largest,
        colorbar={"title": {"text": "cosine"}, "thickness": 12},
        hovertemplate=f"%{{y}}, {unit} %{{x}}: %{{z:.3g}}<extra></extra>",
    )  # fmt: skip
    figure.update_layout(
        height=_ROW * len(values) + 110, margin={"l": 8, "r": 8, "t": 12, "b": 8},
        xaxis={"title": {"text": unit}}, yaxis={"autorange": "reversed", "type": "category"},
    )  # fmt: skip
    return figure
