"""Numbers of both sides by step: effective rank, sample signal, similarity. Frames in, plotly figures out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from edgeglass_diag.figures.lines import line_figure, thin
from edgeglass_diag.figures.step_axis import whole_steps

if TYPE_CHECKING:
    import pandas as pd

_STYLES = {"image": (0, "solid"), "text": (2, "dash")}


def sides_figure(
    sides: dict[str, pd.DataFrame], title: str, template: go.layout.Template, *, least: float | None = None
) -> go.Figure:
    """One line for each side; the bound below which it is a collapse as a dashed line.

    Args:
        sides: by ``image`` or ``text`` (or another name) columns ``step`` and ``value``.
        title: of the axis.
        template: one of ``TEMPLATES``.
        least: bound from below.
    """
    figure = line_figure(template, title)
    for index, (side, frame) in enumerate(sides.items()):
        color, dash = _STYLES.get(side, (3 + index % 3, "dashdot"))
        rows = thin(frame)
        figure.add_scatter(
            x=[int(step) for step in rows["step"]],
            y=[float(value) if math.isfinite(value) else None for value in rows["value"]],
            name=side,
            mode="lines+markers" if len(rows) < 30 else "lines",
            line={"width": 2, "dash": dash, "color": template.layout.colorway[color]},
            hovertemplate="%{y:.4g}",
        )
    if least is not None:
        figure.add_hline(y=least, line={"dash": "dash", "width": 1.5, "color": "#888888"}, layer="below")
        figure.add_annotation(
            text=f"collapsed at {least:g} and below", x=1, xref="x domain", xanchor="right", y=least, yanchor="bottom",
            showarrow=False, font={"size": 11},
        )  # fmt: skip
    figure.update_layout(showlegend=True, yaxis_rangemode="tozero")
    return whole_steps(figure)
