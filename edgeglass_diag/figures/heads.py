"""The heads of one attention over the training, and any signal of one site."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from edgeglass_diag.figures.lines import Points
from edgeglass_diag.figures.scales import Scale
from edgeglass_diag.figures.step_axis import TITLE, whole_steps

if TYPE_CHECKING:
    import pandas as pd

_DASHES = ("solid", "dash", "dot", "dashdot")


def heads_figure(frame: pd.DataFrame, scale: Scale, template: go.layout.Template) -> go.Figure:
    """One line per head, the healthy range as a band; infinities and NaN leave a gap.

    Args:
        frame: columns ``step``, ``component`` and ``low`` and ``high``, the ends of what a point stands for.
        scale: how the signal is drawn.
        template: one of ``TEMPLATES``.
    """
    figure = go.Figure(layout=_layout(scale, template))
    points = heads_points(frame, scale)
    for head, (x, y) in enumerate(zip(points["x"], points["y"], strict=True)):
        figure.add_scatter(
            x=x,
            y=y,
            name=f"head {head}" if len(points["x"]) > 1 else scale.label.lower(),
            mode="lines+markers" if len(x) < 30 else "lines",
            line={"width": 1.8, "dash": _DASHES[(head // 6) % len(_DASHES)]},
            hovertemplate="%{y:.4g}",
        )
    draw_bounds(figure, scale)
    return whole_steps(figure)


def heads_points(frame: pd.DataFrame, scale: Scale) -> Points:
    """The x and y of the traces of ``heads_figure``, one per head."""
    end = "low" if scale.extreme == "low" else "high"
    groups = [rows for _, rows in frame.groupby("component")]
    return {
        "x": [[int(step) for step in rows["step"]] for rows in groups],
        "y": [[_drawn(float(value), scale) for value in rows[end]] for rows in groups],
    }


def _drawn(value: float, scale: Scale) -> float | None:
    if not math.isfinite(value):
        return None
    return max(value, 1e-30) if scale.logarithmic else value


def _layout(scale: Scale, template: go.layout.Template) -> dict[str, Any]:
    axis: dict[str, Any] = {"title": {"text": scale.label.lower()}}
    if scale.logarithmic:
        axis |= {"type": "log", "exponentformat": "power", "nticks": 8}
    elif scale.extent:
        axis["range"] = [scale.extent[0] - 0.02, scale.extent[1] + 0.02]
    return {
        "template": template,
        "uirevision": "kept",
        "margin": {"l": 8, "r": 12, "t": 36, "b": 8},
        "height": 320,
        "hovermode": "x unified",
        "showlegend": True,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "xaxis": {"title": {"text": TITLE}},
        "yaxis": axis,
    }


def draw_bounds(figure: go.Figure, scale: Scale) -> None:
    """The healthy range shaded where it has two ends; a dashed line at each bound, which says its healthy side."""
    if scale.low is not None and scale.high is not None:
        figure.add_hrect(y0=scale.low, y1=scale.high, fillcolor="#009E73", opacity=0.08, line_width=0, layer="below")
    for bound, words, anchor in ((scale.low, "healthy above", "bottom"), (scale.high, "healthy below", "top")):
        if bound is None:
            continue
        figure.add_hline(y=bound, line={"dash": "dash", "width": 1.5, "color": "#888888"}, layer="below")
        place = math.log10(bound) if scale.logarithmic else bound  # annotations count in powers of ten
        figure.add_annotation(
            text=f"{words} {bound:.4g}", x=1, xref="x domain", xanchor="right", y=place, yanchor=anchor,
            showarrow=False, font={"size": 11},
        )  # fmt: skip
