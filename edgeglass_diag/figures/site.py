"""One signal at one place over the training, drawn small: a line for each head or parameter, dashed of other runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from edgeglass_diag.figures.heads import draw_bounds, heads_points
from edgeglass_diag.figures.lines import Points
from edgeglass_diag.figures.log_axis import log_ticks
from edgeglass_diag.figures.scales import Scale
from edgeglass_diag.figures.step_axis import TITLE, whole_steps

if TYPE_CHECKING:
    import pandas as pd

HEIGHT = 210
_SPAN = 1.5  # powers of ten
_COLORS = 6  # of a template, and then again
_NAMED = 8
"""Lines at most that have a name in the legend."""


@dataclass(frozen=True)
class Line:
    """The components of a site in a run.

    Attributes:
        name: what tells the line from others.
        frame: columns ``step``, ``component`` and ``low`` and ``high``, the ends of what a point stands for.
        other: whether it is of another run, and is drawn dashed.
    """

    name: str
    frame: pd.DataFrame
    other: bool = False


def site_figure(lines: Sequence[Line], scale: Scale, template: go.layout.Template) -> go.Figure:
    """One line per component of each of ``lines``, with the bounds that are known.

    Args:
        lines: of one signal; those of other runs last.
        scale: how the signal is drawn.
        template: one of ``TEMPLATES``.
    """
    figure = go.Figure(layout=_layout(scale, template))
    points = site_points(lines, scale)
    names = [_name(line, head, heads) for line in lines for heads in [_heads(line)] for head in range(heads)]
    styles = [line.other for line in lines for _ in range(_heads(line))]
    figure.update_layout(showlegend=1 < len(names) <= _NAMED)
    for at, (x, y, name, other) in enumerate(zip(points["x"], points["y"], names, styles, strict=True)):
        figure.add_scatter(
            x=x,
            y=y,
            name=name,
            mode="lines+markers" if len(x) < 3 else "lines",
            line={"width": 1.6, "dash": "dash" if other else "solid" if at < _COLORS else "dot"},
            hovertemplate="%{y:.4g}",
        )
    if scale.logarithmic:
        bounds = [bound for bound in (scale.low, scale.high) if bound is not None]
        figure.update_yaxes(_decades([*points["y"], bounds]))
    draw_bounds(figure, scale)
    return whole_steps(figure)


def _decades(lines: Sequence[Sequence[float | None]]) -> dict[str, object]:
    """Some five labels at whole powers of ten; at 2 and 5 as well where what is drawn spans hardly two."""
    drawn = [value for line in lines for value in line if value is not None and value > 0]
    span = math.log10(max(drawn)) - math.log10(min(drawn)) if drawn else 0
    return {"dtick": math.ceil(span / 5) if span > _SPAN else log_ticks(drawn)}


def site_points(lines: Sequence[Line], scale: Scale) -> Points:
    """The x and y of the traces of ``site_figure``."""
    found = [heads_points(line.frame, scale) for line in lines]
    return {axis: [values for points in found for values in points[axis]] for axis in ("x", "y")}


def _heads(line: Line) -> int:
    return int(line.frame["component"].nunique())


def _name(line: Line, head: int, heads: int) -> str:
    if heads == 1:
        return line.name
    return f"{line.name} head {head}" if line.name else f"head {head}"


def _layout(scale: Scale, template: go.layout.Template) -> dict[str, object]:
    axis: dict[str, object] = {"title": {"text": scale.label.lower(), "font": {"size": 11}}, "tickfont": {"size": 11}}
    if scale.logarithmic:
        axis |= {"type": "log", "exponentformat": "power", "nticks": 6}
    elif scale.extent:
        axis["range"] = [scale.extent[0] - 0.02, scale.extent[1] + 0.02]
    return {
        "template": template,
        "uirevision": "kept",
        "margin": {"l": 8, "r": 10, "t": 8, "b": 4},
        "height": HEIGHT,
        "hovermode": "x unified",
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "font": {"size": 11}},
        "xaxis": {"title": {"text": TITLE, "font": {"size": 11}, "standoff": 2}, "tickfont": {"size": 11}},
        "yaxis": axis,
    }
