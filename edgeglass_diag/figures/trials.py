"""Losses of replays as small multiples: one picture per change, all with the same axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from textwrap import shorten, wrap
from typing import Any

import plotly.graph_objects as go

from edgeglass_diag.figures.step_axis import TITLE, whole_steps

_COLUMNS = 3
_ROW = 230
"""Height of a row of pictures in pixels."""
MOST = 24
"""Pictures in one figure; the axes of more take seconds to draw."""
_POINTS = 400
"""Points of a line, more than a picture has pixels."""
_TITLE = 34


@dataclass(frozen=True, slots=True)
class Curve:
    """The losses of one replay by optimizer step; ``learns`` tells how it is drawn."""

    seed: int
    learns: bool
    steps: tuple[int, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Multiple:
    """One picture: the replays of a change, and behind them in grey those in which nothing was changed."""

    label: str
    curves: tuple[Curve, ...]
    behind: tuple[Curve, ...] = ()


def trials_figure(multiples: Sequence[Multiple], template: go.layout.Template, *, relative: bool) -> go.Figure:
    """The losses of each change side by side; learning replays are solid, others dashed.

    Args:
        multiples: at least one; of more than 24 the first are drawn.
        template: one of ``TEMPLATES``.
        relative: whether the losses are divided by their chance level, which is drawn at 1 then.
    """
    from plotly.subplots import make_subplots

    shown = multiples[:MOST]
    columns = 2 if len(shown) == _COLUMNS + 1 else min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = make_subplots(
        rows, columns, shared_xaxes="all", shared_yaxes="all", subplot_titles=[_title(each.label) for each in shown],
        horizontal_spacing=0.03, vertical_spacing=min(0.5 / rows, 60 / (_ROW * rows)),
    )  # fmt: skip
    for index, each in enumerate(shown):
        place = {"row": index // columns + 1, "col": index % columns + 1}
        for curve in each.behind:
            figure.add_scatter(**_line(curve), **place, line={"color": "#9aa0a6", "width": 1}, hoverinfo="skip")
        for curve in each.curves:
            name, line = f"seed {curve.seed}", _style(curve, template)
            figure.add_scatter(**_line(curve), **place, name=name, hovertemplate="%{y:.4g}", line=line)
    _axes(figure, len(shown), columns, relative=relative)
    figure.update_annotations(font_size=12)
    figure.update_layout(
        template=template, showlegend=False, hovermode="x unified", height=_ROW * rows + 86, uirevision="kept",
        margin={"l": 8, "r": 8, "t": 60, "b": 8},
    )  # fmt: skip
    return whole_steps(figure)


def _axes(figure: go.Figure, number: int, columns: int, *, relative: bool) -> None:
    """Label the axes: y at the left, x below the last picture of each column."""
    for row in range(1, -(-number // columns) + 1):
        figure.update_yaxes(title_text="loss / chance" if relative else "loss", row=row, col=1)
    for column in range(1, columns + 1):
        lowest = (number - column) // columns + 1
        figure.update_xaxes(title_text=TITLE, showticklabels=True, row=lowest, col=column)
    figure.update_yaxes(rangemode="tozero")
    if relative:
        chance = {"dash": "dot", "width": 1.2, "color": "#888888"}
        figure.add_hline(y=1, line=chance, layer="below", row="all", col="all")
        figure.add_annotation(
            text="chance", x=1, xref="x domain", xanchor="right", y=1, yref="y", yanchor="bottom", showarrow=False
        )


def _title(label: str) -> str:
    words = wrap(shorten(label, 3 * _TITLE, placeholder=" ..."), _TITLE)[:3]
    return "<br>".join(map(escape, words))


def _line(curve: Curve) -> dict[str, Any]:
    stride = max(1, math.ceil(len(curve.steps) / _POINTS))
    last = len(curve.steps) - 1
    kept = [index for index in range(len(curve.steps)) if index % stride == 0 or index == last]
    losses = [curve.losses[index] for index in kept]
    y = [value if math.isfinite(value) else None for value in losses]
    return {"x": [curve.steps[index] for index in kept], "y": y, "mode": "lines"}


def _style(curve: Curve, template: go.layout.Template) -> dict[str, Any]:
    colors = template.layout.colorway
    return {"color": colors[0 if curve.learns else 2], "width": 1.4, "dash": "solid" if curve.learns else "dash"}
