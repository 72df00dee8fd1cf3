"""A training as an animation of its embeddings on one plane."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from edgeglass_diag.figures.embedding_marks import SIDES, frame_plane, gap_trace, hover_text
from edgeglass_diag.figures.style import empty_figure

_MARKERS = {"image": (0, "circle"), "text": (2, "diamond-open")}
"""Place in the colours of the template and marker of each side."""


def steps_figure(
    points: pd.DataFrame,
    template: go.layout.Template,
    *,
    labels: Mapping[int, Sequence[str]] | None = None,
    meta: Callable[[int], Mapping[str, Any]] | None = None,
) -> go.Figure:
    """Both sides at each step, all on the same plane; a slider and a button go through the steps.

    Points do not move from one step to the next: each step has the pairs of its own batch.

    Args:
        points: columns ``step``, ``side``, ``pair``, ``x``, ``y``, and ``attrs["shares"]``, as ``common_plane`` gives.
        template: one of ``TEMPLATES``, or any other plotly template.
        labels: by step the text of each pair for hovering; its number where there is none.
        meta: what the points of a step carry with them.
    """
    told = labels or {}
    if points.empty:
        return empty_figure(template, "no pairs")
    frames = {
        step: _traces(rows, template, told.get(step, ()), {} if meta is None else meta(step))
        for step, rows in ((_number(step), rows) for step, rows in points.groupby("step"))
    }
    figure = go.Figure(
        data=frames[max(frames)],
        frames=[go.Frame(data=traces, name=str(step)) for step, traces in frames.items()],
        layout={"template": template, "uirevision": "kept"},
    )
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0})
    shares = points.attrs.get("shares", [np.nan, np.nan])
    titles = [f"axis {number}: {share:.0%} of the variance" for number, share in enumerate(shares, 1)]
    frame_plane(figure, titles, [_span(points[axis]) for axis in "xy"])
    if len(frames) > 1:
        figure.update_layout(sliders=[_slider(list(frames))], updatemenus=[_buttons(template)])
    return figure


def _span(values: pd.Series) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    room = max(0.06 * (high - low), 0.06)  # embeddings that collapsed are a point, not their rounding
    return low - room, high + room


def _traces(
    points: pd.DataFrame, template: go.layout.Template, labels: Sequence[str], meta: Mapping[str, Any]
) -> list[go.Scatter]:
    traces = []
    for side in SIDES:
        color, symbol = _MARKERS[side]
        mine = points[points["side"] == side]
        marker = {"size": 6, "symbol": symbol, "color": template.layout.colorway[color], "opacity": 0.8}
        said = [hover_text(labels[pair]) if pair < len(labels) else f"pair {pair}" for pair in mine["pair"]]
        traces.append(
            go.Scatter(
                x=mine["x"].to_numpy(), y=mine["y"].to_numpy(), customdata=mine["pair"].to_numpy(), mode="markers",
                name=side, marker=marker, text=said, hovertemplate="%{text}<extra>" + side + "</extra>", meta=meta,
            )
        )  # fmt: skip
    return [*traces, gap_trace(points, template)]


def _slider(steps: list[int]) -> dict[str, Any]:
    now = {"mode": "immediate", "frame": {"duration": 0, "redraw": False}, "transition": {"duration": 0}}
    return {
        "active": len(steps) - 1,
        "currentvalue": {"prefix": "step "},
        "pad": {"t": 75},
        "steps": [{"label": str(step), "method": "animate", "args": [[str(step)], now]} for step in steps],
    }


def _buttons(template: go.layout.Template) -> dict[str, Any]:
    way = {"fromcurrent": False, "frame": {"duration": 800, "redraw": False}, "transition": {"duration": 0}}
    buttons = [
        {"label": "Play", "method": "animate", "args": [None, way]},
        {"label": "Pause", "method": "animate", "args": [[None], {"mode": "immediate", "frame": {"duration": 0}}]},
    ]
    place = {"x": 0, "xanchor": "left", "y": 0, "yanchor": "top", "pad": {"t": 40}, "direction": "left"}
    return {"type": "buttons", "showactive": False, "buttons": buttons, "bgcolor": "rgba(128,128,128,0.15)",
            "font": {"color": template.layout.font.color}, **place}  # fmt: skip


def _number(step: Hashable) -> int:
    return int(str(step))
