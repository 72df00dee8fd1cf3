"""The loss with its chance level by step, and on it the findings as marks at the step where each began."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from edgeglass_diag.figures.lines import loss_figure

if TYPE_CHECKING:
    import pandas as pd

HEIGHT = 232
_SYMBOLS = {"critical": "x", "warning": "triangle-up", "info": "circle"}
COLORS = {
    "light": {"critical": "#a8320a", "warning": "#7d5700", "info": "#0b5e99"},
    "dark": {"critical": "#ff9d76", "warning": "#f0c14b", "info": "#7cc4f8"},
}
HALO = {scheme: ", ".join([f"0 0 2px {ground}"] * 4) for scheme, ground in (("light", "#fff"), ("dark", "#242424"))}
"""Shadows in the colour of the ground, so that a code can be read over lines."""
_TOP, _ROW, _ROWS = 0.95, 0.105, 7
_LABEL = 0.1  # of the axis, for a mark with its code
_LATE = 0.88  # of the axis: from here on the code stands in front of its mark


@dataclass(frozen=True, slots=True)
class FindingMark:
    """A finding on the time line.

    Attributes:
        step: where it began.
        code: of the rule.
        severity: ``critical``, ``warning`` or ``info``.
        text: the fault in words, which hovering shows.
        way: the address that a click opens.
    """

    step: int
    code: str
    severity: str
    text: str
    way: str


def timeline_figure(
    loss: pd.DataFrame,
    chance: pd.DataFrame,
    template: go.layout.Template,
    marks: Sequence[FindingMark] = (),
    cuts: Sequence[int] = (),
) -> go.Figure:
    """The figure of ``loss_figure`` with a mark for each finding; marks of one step stand below one another.

    The marks are the last trace; ``meta.ways`` of the trace holds the address of each.

    Args:
        loss: columns ``step`` and ``value`` (nats).
        chance: the same for the loss of a model that tells nothing apart.
        template: one of ``TEMPLATES``.
        marks: the findings.
        cuts: steps at which the run went on after its program had been started again.
    """
    figure = loss_figure(loss, chance, template, cuts)
    figure.update_layout(height=HEIGHT, showlegend=False, margin={"l": 8, "r": 56, "t": 8, "b": 4}, font_size=12)
    figure.update_layout(yaxis_title={"text": "loss (nats)", "standoff": 12, "font": {"size": 12}})
    figure.update_xaxes(title={"font": {"size": 12}, "standoff": 4}, rangemode="nonnegative")
    if marks:
        marks = sorted(marks, key=lambda mark: mark.step)
        last_step = 0 if loss.empty else int(loss["step"].iloc[-1])
        _add_marks(figure, marks, last_step, "dark" if template.layout.font.color == "#ced4da" else "light")
    return figure


def _rows(steps: Sequence[int], last_step: int) -> list[int]:
    """Rows in which no label is written over the one before.

    >>> _rows([0, 2, 50], 100), _rows([10, 10], 100)
    ([0, 1, 0], [0, 1])
    """
    width = _LABEL * max(1, last_step, *steps)
    ends: list[float] = [-1.0] * _ROWS
    places = []
    for step in steps:
        row = next((row for row, end in enumerate(ends) if end <= step), _ROWS - 1)
        ends[row] = max(ends[row], step + width)
        places.append(row)
    return places


def _add_marks(figure: go.Figure, marks: Sequence[FindingMark], last_step: int, scheme: str) -> None:
    colors = COLORS[scheme]
    heights = [_TOP - _ROW * row for row in _rows([mark.step for mark in marks], last_step)]
    paint = [colors.get(mark.severity, colors["info"]) for mark in marks]
    first = {mark.step: color for mark, color in reversed(list(zip(marks, paint, strict=True)))}
    for step, worst in first.items():
        figure.add_vline(x=step, line={"color": worst, "width": 1.2, "dash": "dot"}, layer="below")
    figure.add_scatter(
        x=[mark.step for mark in marks],
        y=heights,
        yaxis="y2",
        name="findings",
        cliponaxis=False,
        mode="markers+text",
        text=[mark.code for mark in marks],
        textposition=["middle left" if mark.step > _LATE * last_step else "middle right" for mark in marks],
        textfont={"color": paint, "size": 11, "shadow": HALO[scheme]},
        marker={
            "symbol": [_SYMBOLS.get(mark.severity, "circle") for mark in marks],
            "color": paint,
            "size": 10,
        },
        hovertext=[
            f"<b>{mark.code}</b> since step {mark.step}<br>" + "<br>".join(wrap(escape(mark.text), 60)[:6])
            for mark in marks
        ],
        hovertemplate="%{hovertext}<extra></extra>",
        meta={"ways": [mark.way for mark in marks]},
    )
    figure.update_layout(hovermode="closest")
