"""Several runs side by side. Series in, plotly figures out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from edgeglass_diag.figures.lines import line_figure

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def losses_figure(
    series: Mapping[str, tuple[Sequence[int], Sequence[float]]], parts_at: int | None, template: go.layout.Template
) -> go.Figure:
    """The loss of each run over its chance level, chance at 1, and where they part as a line.

    Args:
        series: steps and losses over chance, by the run's name.
        parts_at: the first step at which they lie apart, None where they never do.
        template: one of ``TEMPLATES``.
    """
    figure = line_figure(template, "loss / chance")
    for index, (name, (steps, losses)) in enumerate(series.items()):
        figure.add_scatter(
            x=list(steps), y=[value if math.isfinite(value) else None for value in losses], name=name, mode="lines",
            line={"width": 2, "color": _COLORS[index % 6], "dash": _DASHES[index % 6]}, hovertemplate="%{y:.4g}",
        )  # fmt: skip
    figure.add_hline(y=1, line={"dash": "dash", "width": 1.5, "color": "#888888"}, layer="below")
    figure.add_annotation(text="chance", x=1, xref="x domain", xanchor="left", y=1, showarrow=False, xshift=6)
    if parts_at is not None:
        figure.add_vline(x=parts_at, line={"dash": "dot", "width": 1.5, "color": "#888888"}, layer="below")
        figure.add_annotation(
            text="they part",
            x=parts_at,
            y=0,
            yref="y domain",
            yanchor="bottom",
            xanchor="left",
            showarrow=False,
            xshift=4,
        )
    figure.update_layout(showlegend=True, yaxis_rangemode="tozero")
    return figure
