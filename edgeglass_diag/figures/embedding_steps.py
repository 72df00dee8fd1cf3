"""A training as an animation of its embeddings on one plane, and the gap between both sides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from edgeglass_diag.figures.style import empty_figure

SIDES = {"image": (0, "circle"), "text": (2, "diamond-open")}
"""Place in the colours of the template and marker of each side."""


def gap_trace(points: pd.DataFrame, template: go.layout.Template) -> go.Scatter:
    """Return the line from the mean of one side to that of the other: the modality gap as this plane shows it.

    Args:
        points: columns ``side`` (image, text), ``x``, ``y``.
        template: whose text colour it has.
    """
    means = points.groupby("side")[["x", "y"]].mean().reindex(list(SIDES))
    return go.Scatter(
        x=means["x"].to_numpy(), y=means["y"].to_numpy(), mode="lines+markers", name="gap between the means",
        line={"width": 3, "color": template.layout.font.color}, marker={"size": 11, "symbol": "x"},
        hovertemplate="mean of one side<extra></extra>",
    )  # fmt: skip


def steps_figure(points: pd.DataFrame, template: go.layout.Template) -> go.Figure:
    """Both sides at each step, all on the same plane; a slider and a button go through the steps.

    Args:
        points: columns ``step``, ``side``, ``pair``, ``x``, ``y``, and ``attrs["shares"]``, as ``common_plane`` gives.
        template: one of ``TEMPLATES``, or any other plotly template.
    """
    if points.empty:
        return empty_figure(template, "no pairs")
    frames = {int(step): _traces(rows, template) for step, rows in points.groupby("step")}
    last = max(frames)
    figure = go.Figure(
        data=frames[last],
        frames=[go.Frame(data=traces, name=str(step)) for step, traces in frames.items()],
        layout={"template": template, "margin": {"l": 8, "r": 16, "t": 36, "b": 8}, "uirevision": "kept"},
    )
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0})
    shares = points.attrs.get("shares", [np.nan, np.nan])
    for number, (axis, share) in enumerate(zip("xy", shares, strict=True)):
        low, high = float(points[axis].min()), float(points[axis].max())
        room = max(0.06 * (high - low), 1e-6)
        figure.update_layout(
            {
                f"{axis}axis": {
                    "title": {"text": f"axis {number + 1}: {share:.0%} of the variance"},
                    "range": [low - room, high + room],
                    "showticklabels": False,
                }
            }
        )
    if len(frames) > 1:
        figure.update_layout(sliders=[_slider(list(frames))], updatemenus=[_buttons(template)])
    return figure


def _traces(points: pd.DataFrame, template: go.layout.Template) -> list[go.Scatter]:
    traces = []
    for side, (color, symbol) in SIDES.items():
        mine = points[points["side"] == side]
        marker = {"size": 6, "symbol": symbol, "color": template.layout.colorway[color], "opacity": 0.8}
        traces.append(
            go.Scatter(
                x=mine["x"].to_numpy(), y=mine["y"].to_numpy(), mode="markers", name=side, marker=marker,
                text=[f"pair {pair}" for pair in mine["pair"]], hovertemplate="%{text}<extra>" + side + "</extra>",
            )
        )  # fmt: skip
    return [*traces, gap_trace(points, template)]


def _slider(steps: list[int]) -> dict[str, Any]:
    now = {"mode": "immediate", "frame": {"duration": 0, "redraw": False}, "transition": {"duration": 0}}
    return {
        "active": len(steps) - 1,
        "currentvalue": {"prefix": "step "},
        "x": 0.16,
        "len": 0.84,
        "pad": {"t": 30},
        "steps": [{"label": str(step), "method": "animate", "args": [[str(step)], now]} for step in steps],
    }


def _buttons(template: go.layout.Template) -> dict[str, Any]:
    way = {"fromcurrent": False, "frame": {"duration": 700, "redraw": False}, "transition": {"duration": 400}}
    buttons = [
        {"label": "Play", "method": "animate", "args": [None, way]},
        {"label": "Pause", "method": "animate", "args": [[None], {"mode": "immediate", "frame": {"duration": 0}}]},
    ]
    place = {"x": 0, "xanchor": "left", "y": 0, "yanchor": "top", "pad": {"t": 40}, "direction": "left"}
    return {"type": "buttons", "showactive": False, "buttons": buttons, "bgcolor": "rgba(128,128,128,0.15)",
            "font": {"color": template.layout.font.color}, **place}  # fmt: skip
