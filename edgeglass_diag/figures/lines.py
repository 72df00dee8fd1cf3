"""Loss and recall by step. Frames in, plotly figures out.

The traces of a figure and their order are part of its contract: ``loss_points`` and ``recall_points`` give new
readings in the same order, so that a figure on the screen can be extended by them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from edgeglass_diag.figures.step_axis import TITLE, whole_steps

if TYPE_CHECKING:
    import pandas as pd

Points = dict[str, list[list[float | None]]]

CUT = "cut"
"""Name of the lines where a run went on."""

_LIMIT = 1600
_SHORT = 200
"""Readings of a level that are all drawn, so that hovering tells each."""
_LOWEST = 1e-4


def loss_figure(
    loss: pd.DataFrame, chance: pd.DataFrame, template: go.layout.Template, cuts: Sequence[int] = ()
) -> go.Figure:
    """The loss by step, with chance as a dashed line and a cross wherever the loss is not finite.

    Args:
        loss: columns ``step`` and ``value`` (nats).
        chance: the same for the loss of a model that tells nothing apart.
        template: one of ``TEMPLATES``, or any other plotly template.
        cuts: steps at which the run went on after its program had been started again.
    """
    points = loss_points(thin(loss), thin(chance if len(chance) <= _SHORT else _bends(chance)))
    figure = line_figure(template, "loss")
    add_line(figure, points, 0, name="loss", mode="lines+markers" if len(loss) < 50 else "lines")
    _add_chance(figure, points)
    add_line(
        figure,
        points,
        2,
        name="not finite",
        mode="markers",
        yaxis="y2",
        showlegend=False,
        marker={"symbol": "x", "size": 8},
        hovertemplate="not a finite number<extra></extra>",
    )
    hidden = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
    figure.update_layout(yaxis2=hidden, yaxis_rangemode="tozero", showlegend=True)
    _label_chance(figure, chance)
    for step in cuts:
        figure.add_vline(x=step, line={"dash": "dash", "width": 1}, opacity=0.6, layer="below", name=CUT)
        figure.add_annotation(
            x=step, y=0, yref="y domain", text=f"resumed at step {step}", textangle=-90, showarrow=False,
            xanchor="right", yanchor="bottom", font={"size": 11},
        )  # fmt: skip
    return whole_steps(figure)


def loss_points(loss: pd.DataFrame, chance: pd.DataFrame) -> Points:
    """The x, y and customdata of the three traces of ``loss_figure``."""
    steps, values = _columns(loss)
    lost: list[float | None] = [step for step, value in zip(steps, values, strict=True) if value is None]
    chance_steps, chance_values = _columns(chance)
    bottom: list[float | None] = [0.03] * len(lost)
    y = [values, chance_values, bottom]
    return {"x": [steps, chance_steps, lost], "y": y, "customdata": [values, chance_values, lost]}


def recall_figure(
    image_to_text: pd.DataFrame, text_to_image: pd.DataFrame, queries: pd.DataFrame, template: go.layout.Template
) -> go.Figure:
    """Recall@1 both ways by step, with the chance 1/n as a dashed line, on a logarithmic axis.

    A recall of 0 has no place on that axis and is drawn at half of chance; hovering tells the number itself.

    Args:
        image_to_text: columns ``step`` and ``value`` (a fraction).
        text_to_image: the same the other way round.
        queries: the same for n, the number of pairs that were ranked.
        template: one of ``TEMPLATES``, or any other plotly template.
    """
    points = recall_points(thin(image_to_text), thin(text_to_image), thin(queries))
    figure = line_figure(template, "recall@1")
    add_line(figure, points, 0, name="image to text", mode="lines+markers", marker={"size": 7})
    _add_chance(figure, points)
    marker = {"symbol": "diamond-open", "size": 10}
    add_line(figure, points, 2, name="text to image", mode="lines+markers", marker=marker)
    span = [math.log10(min((value / 2 for value in points["y"][1] if value), default=_LOWEST)) - 0.2, 0.1]
    figure.update_yaxes(type="log", dtick=1, tickformat="~g", range=span)
    chance = queries.assign(value=1 / queries["value"])
    _label_chance(figure, chance, logarithmic=True)
    return whole_steps(figure)


def recall_points(image_to_text: pd.DataFrame, text_to_image: pd.DataFrame, queries: pd.DataFrame) -> Points:
    """The x, y and customdata of the three traces of ``recall_figure``."""
    counts, n = _columns(queries)
    chance: list[float | None] = [1 / value if value else None for value in n]
    floor = min((value / 2 for value in chance if value), default=_LOWEST)
    columns = [_columns(image_to_text), (counts, chance), _columns(text_to_image)]
    real = [values for _, values in columns]
    drawn = [[None if value is None else max(value, floor) for value in values] for values in real]
    return {"x": [steps for steps, _ in columns], "y": drawn, "customdata": real}


def thin(frame: pd.DataFrame, limit: int = _LIMIT) -> pd.DataFrame:
    """At most about ``limit`` rows that keep the first, the last and every stretch's extremes and NaN."""
    if len(frame) <= limit:
        return frame
    stretch = (frame.reset_index(drop=True).index * (limit // 2)) // len(frame)
    values = frame["value"].reset_index(drop=True)
    groups = values.fillna(math.inf).groupby(stretch)
    keep = sorted({0, len(frame) - 1, *groups.idxmin(), *groups.idxmax()})
    return frame.iloc[keep]


def _bends(level: pd.DataFrame) -> pd.DataFrame:
    """The rows of a level by step between which a line is straight: a level that stays is its two ends."""
    values = level["value"]
    return level[(values != values.shift(1)) | (values != values.shift(-1))]


def _columns(frame: pd.DataFrame) -> tuple[list[float | None], list[float | None]]:
    values = [float(value) if math.isfinite(value) else None for value in frame["value"]]
    return [int(step) for step in frame["step"]], values


def line_figure(template: go.layout.Template, title: str) -> go.Figure:
    """An empty figure of something by step, whose zoom stays when it is extended."""
    return go.Figure(
        layout={
            "template": template,
            "uirevision": "kept",
            "margin": {"l": 8, "r": 60, "t": 36, "b": 8},
            "hovermode": "x unified",
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            "xaxis": {"title": {"text": TITLE}},
            "yaxis": {"title": {"text": title}},
        }
    )


def add_line(figure: go.Figure, points: Points, index: int, **style: Any) -> None:
    """Add one of the traces of ``points``."""
    import numpy as np

    # As arrays of objects: of a list plotly looks at each entry, and numbers in binary cannot be extended by a None.
    x, y, real = (np.array(points[key][index], dtype=object) for key in ("x", "y", "customdata"))
    figure.add_scatter(**{"x": x, "y": y, "customdata": real, "hovertemplate": "%{customdata:.4g}", **style})


def _add_chance(figure: go.Figure, points: Points) -> None:
    """The dashed line; a single reading has no line and gets a dash of its own."""
    single = len(points["x"][1]) == 1
    style: dict[str, Any] = {"mode": "lines", "line": {"dash": "dash", "width": 2}}
    if single:
        style = {"mode": "markers", "marker": {"symbol": "line-ew-open", "size": 60, "line": {"width": 2}}}
    add_line(figure, points, 1, name="chance", showlegend=False, **style)


def _label_chance(figure: go.Figure, chance: pd.DataFrame, *, logarithmic: bool = False) -> None:
    if chance.empty:
        return
    value = float(chance["value"].iloc[-1])
    figure.add_annotation(
        text="chance",
        x=1,
        xref="x domain",
        xanchor="left",
        y=math.log10(value) if logarithmic else value,
        showarrow=False,
        xshift=6,
    )
