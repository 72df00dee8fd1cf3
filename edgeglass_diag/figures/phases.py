"""Where the time of the traced steps goes. A summary in, plotly figures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

_COLORS = {
    "data wait": "#c8434f", "forward": "#2a86c9", "backward": "#119871", "optimizer": "#94780a",
    "recorder": "#7a6fd0", "other": "#8a949c",
}  # fmt: skip
_ROW = 34


def phases_figure(steps: Sequence[Mapping[str, float]], template: go.layout.Template) -> go.Figure:
    """Return the traced steps one below the other, each as long as it took and divided into its phases.

    Args:
        steps: of each its number ``step`` and the seconds of each phase, as ``summarise`` gives them.
        template: one of ``TEMPLATES``.
    """
    figure = go.Figure(layout={"template": template})
    names = [f"step {int(row['step'])}" for row in steps]
    for phase, color in _COLORS.items():
        figure.add_bar(
            y=names, x=[1e3 * row.get(phase, 0.0) for row in steps], name=phase, orientation="h",
            marker={"color": color, "line": {"width": 0}}, hovertemplate="%{x:.2f} ms",
        )  # fmt: skip
    figure.update_layout(
        barmode="stack", bargap=0.25, hovermode="y unified", height=_ROW * len(steps) + 130,
        margin={"l": 8, "r": 12, "t": 40, "b": 8}, uirevision="kept",
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
        xaxis={"title": {"text": "milliseconds of the training thread"}},
        yaxis={"autorange": "reversed", "type": "category", "fixedrange": True},
    )  # fmt: skip
    return figure
