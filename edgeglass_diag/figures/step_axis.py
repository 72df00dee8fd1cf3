"""How axes of optimizer steps are labelled: at whole numbers, also where a run has few of them."""

from __future__ import annotations

import plotly.graph_objects as go

TITLE = "optimizer step"
FEW = 8
"""Steps of an axis from which on plotly labels whole numbers by itself."""


def whole_steps(figure: go.Figure) -> go.Figure:
    """Return the figure with a label at each step where an axis of steps has fewer than ``FEW``.

    Args:
        figure: whose traces are already drawn; its axes of steps are known by their title.

    >>> short = go.Figure(go.Scatter(x=[0, 1, 2]), {"xaxis": {"title": {"text": TITLE}}})
    >>> long = go.Figure(go.Scatter(x=[0, 100]), {"xaxis": {"title": {"text": TITLE}}})
    >>> whole_steps(short).layout.xaxis.dtick, whole_steps(long).layout.xaxis.dtick
    (1, None)
    """
    axes = [axis for axis in figure.select_xaxes() if axis.title.text == TITLE or axis.matches]
    ends = [trace.x[at] for trace in figure.data if trace.x is not None and len(trace.x) for at in (0, -1)]
    known = [float(step) for step in ends if step is not None]
    if known and max(known) - min(known) < FEW:
        for axis in axes:
            axis.dtick = 1
    return figure
