"""What is drawn over the points of a plane of embeddings: the gap between both sides, and one pair."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from textwrap import wrap

import pandas as pd
import plotly.graph_objects as go

SIDES = ("image", "text")


def hover_text(text: object) -> str:
    """Return a foreign text as plotly shows it when a point is hovered: escaped, in four lines at most.

    >>> hover_text("<b>a red circle")
    '&lt;b&gt;a red circle'
    >>> hover_text('a "red" circle')  # plotly shows &quot; as it is
    'a "red" circle'
    """
    return "<br>".join(escape(line, quote=False) for line in wrap(str(text), 60)[:4])


def gap_trace(points: pd.DataFrame, template: go.layout.Template) -> go.Scatter:
    """Return the line from the mean of one side to that of the other: the modality gap as a plane shows it.

    It means something on a plane that is a linear map of the embeddings (PCA) alone.

    Args:
        points: columns ``side`` (image, text), ``x``, ``y``.
        template: whose text colour it has.
    """
    means = points.groupby("side")[["x", "y"]].mean().reindex(SIDES)
    return go.Scatter(
        x=means["x"].to_numpy(), y=means["y"].to_numpy(), mode="lines+markers", name="gap between the means",
        line={"width": 3, "color": template.layout.font.color}, marker={"size": 11, "symbol": "x"},
        text=[f"mean of the {side} side" for side in SIDES], hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip


def frame_plane(
    figure: go.Figure, titles: Sequence[str], ranges: Sequence[Sequence[float] | None] = (None, None)
) -> None:
    """Give a plane of embeddings its axes: without numbers, and with distances as long in both directions.

    Their margins are known, as there are no numbers: plotly would draw all points once to measure them and again.

    Args:
        figure: of the points.
        titles: of both axes.
        ranges: of both axes; where None what the points take.
    """
    shared = {"showticklabels": False, "showgrid": True, "automargin": False}
    for axis, title, span in zip("xy", titles, ranges, strict=True):
        figure.update_layout({f"{axis}axis": {"title": {"text": title}, "range": span, **shared}})
    figure.update_yaxes(scaleanchor="x")
    figure.update_layout(margin={"l": 30 if titles[1] else 8, "r": 16, "t": 36, "b": 34 if titles[0] else 8})


def pair_trace(points: pd.DataFrame, pair: int, template: go.layout.Template) -> go.Scatter:
    """Return rings around both sides of one pair, joined; empty where the pair is none of the points.

    Args:
        points: columns ``side`` (image, text), ``pair``, ``x``, ``y``.
        pair: which one.
        template: whose text colour they have.
    """
    mine = points[points["pair"] == pair]
    color = template.layout.font.color
    return go.Scatter(
        x=mine["x"].to_numpy(), y=mine["y"].to_numpy(), mode="lines+markers", name="chosen pair", hoverinfo="skip",
        line={"width": 2, "color": color}, marker={"size": 15, "symbol": "circle-open", "line": {"width": 2}},
    )  # fmt: skip
