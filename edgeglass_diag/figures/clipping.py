"""The gradient norm of the whole model before and after clipping. Frames in, plotly figures out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from edgeglass_diag.figures.lines import Points, add_line, line_figure, thin
from edgeglass_diag.figures.log_axis import log_ticks
from edgeglass_diag.figures.step_axis import whole_steps

if TYPE_CHECKING:
    import pandas as pd


_FLOOR = 1e-8


def clipping_figure(before: pd.DataFrame, after: pd.DataFrame, template: go.layout.Template) -> go.Figure:
    """Both norms by step on a logarithmic axis; where they part the gradient was clipped.

    Args:
        before: columns ``step`` and ``value``.
        after: the same, of what the optimizer got.
        template: one of ``TEMPLATES``.
    """
    points = clipping_points(thin(before), thin(after))
    figure = line_figure(template, "gradient norm")
    styles = ({"name": "before clipping", "line": {"width": 1.6}},
              {"name": "after clipping", "line": {"width": 2.4, "color": "#D55E00"}})  # fmt: skip
    for index, style in enumerate(styles):
        add_line(figure, points, index, mode="lines+markers" if len(before) < 50 else "lines", **style)
    drawn = [value for values in points["y"] for value in values if value is not None]
    figure.update_layout(yaxis={"type": "log", "exponentformat": "power", "dtick": log_ticks(drawn)}, showlegend=True)
    return whole_steps(figure)


def clipping_points(before: pd.DataFrame, after: pd.DataFrame) -> Points:
    """The x, y and customdata of the two traces of ``clipping_figure``.

    Zero has no place on the axis and is drawn at its end, 1e-8; what is not finite leaves a gap.
    """
    columns = [before, after]
    real = [[float(value) if math.isfinite(value) else None for value in frame["value"]] for frame in columns]
    return {
        "x": [[int(step) for step in frame["step"]] for frame in columns],
        "y": [[None if value is None else max(value, _FLOOR) for value in values] for values in real],
        "customdata": real,
    }
