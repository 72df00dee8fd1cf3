"""Signals of runs by step, one panel for each unit below the other, all with one axis of steps.

The traces of a figure and their order are part of its contract: ``tail`` gives new readings in the same order, so that
a figure on the screen can be extended by them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from edgeglass_diag.figures.log_axis import log_ticks
from edgeglass_diag.figures.reduced import Floats, Ints
from edgeglass_diag.figures.step_axis import TITLE, whole_steps
from edgeglass_diag.signals import METRIC, Signal

COLORS = ("#2a86c9", "#d1600f", "#119871", "#b8579c", "#94780a", "#7a6fd0", "#c8434f", "#6f7d87")
"""Of lines: each 3 to 1 against the ground of either style, told apart with any colour vision by their dashes too."""
DASHES = ("solid", "dash", "dot", "dashdot")
COLUMNS = 1000
"""Columns of pixels that a line is drawn for."""
TRACES = 3
"""Of each line: as measured, smoothed, and marks of what has no place on it."""

_PANEL, _GAP, _TOP, _BOTTOM = 190, 34, 8, 50
_FEW = 60


@dataclass(frozen=True)
class Line:
    """One signal at one site of one run.

    Attributes:
        run: what the run is called here; empty where there is one alone.
        signal: what is drawn.
        site: its place in words.
        color, dash: numbers of its style.
        steps, values: the readings that are drawn, (n,), also those that are not finite.
        smooth: their moving average, (n,); None where none is drawn.
        whole: how many readings there are, and the last, lowest and highest of those that are finite.
    """

    run: str
    signal: Signal
    site: str
    color: int
    dash: int
    steps: Ints
    values: Floats
    smooth: Floats | None
    whole: Whole

    @property
    def name(self) -> str:
        """What it is called beside others."""
        return " · ".join(part for part in (str(self.signal), self.site, self.run) if part)


@dataclass(frozen=True)
class Whole:
    """All readings of a line: how many, the last step and value, the finite extremes, and how many are not finite."""

    readings: int
    step: int
    last: float
    low: float
    high: float
    nans: int
    infinities: int


def whole_of(steps: Ints, values: Floats) -> Whole:
    """Return what is told of all readings of a line, of which there is at least one."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (float("nan"), float("nan"))
    nans = int(np.isnan(values).sum())
    return Whole(len(values), int(steps[-1]), float(values[-1]), low, high, nans, len(values) - len(finite) - nans)


@dataclass(frozen=True, slots=True)
class Axis:
    """What lines of one panel share: ``title`` is the unit, ``of`` the quantity where the unit does not tell it."""

    title: str
    of: str = ""


def axis_of(signal: Signal) -> Axis:
    """Return the axis that a signal is drawn with: those without a unit, or with one that nobody knows, have one each.

    >>> from edgeglass_diag.signals.losses import LOSS_TOTAL, LOSS_ACCURACY
    >>> axis_of(LOSS_TOTAL), axis_of(LOSS_ACCURACY)
    (Axis(title='nats', of=''), Axis(title='share', of=''))
    """
    if signal.family == METRIC:
        return Axis("as logged", str(signal))
    if signal.unit == "1":
        return Axis("share") if (signal.low, signal.high) == (0, 1) else Axis("no unit", str(signal))
    return Axis(signal.unit)


def overlay_figure(
    lines: Sequence[Line],
    template: go.layout.Template,
    *,
    log: bool = False,
    span: tuple[int, int] | None = None,
    mark: tuple[int, str] | None = None,
) -> go.Figure:
    """Lines in panels by unit; dragging chooses steps in all of them, hovering tells the values of all.

    What is not finite is a gap and a mark at the edge of its panel: a cross for NaN, triangles for infinities; on
    logarithmic axes also what is not above zero.

    Args:
        lines: at least one.
        template: one of ``TEMPLATES``, or any other plotly template.
        log: whether the axes of values are logarithmic.
        span: first and last step that are looked at; all where None.
        mark: a step that is marked in all panels, and the word for it.
    """
    axes = list(dict.fromkeys(axis_of(line.signal) for line in lines))
    figure = go.Figure(layout={"template": template})
    number: dict[Axis, int] = {}
    for line in lines:
        panel = axes.index(axis_of(line.signal))
        place = number[axes[panel]] = number.get(axes[panel], -1) + 1
        for trace in _traces(line, panel, place, log=log):
            figure.add_trace(trace)
    _place(figure, axes, lines, log=log)
    figure.update_xaxes(
        title={"text": TITLE}, anchor="y" if len(axes) == 1 else f"y{len(axes)}",
        showspikes=True, spikemode="across", spikesnap="cursor", spikethickness=1, spikedash="dot",
        spikecolor="#888888", range=list(span) if span else None,
    )  # fmt: skip
    figure.update_layout(
        height=len(axes) * (_PANEL + _GAP) + _TOP + _BOTTOM,
        margin={"l": 62, "r": 12, "t": _TOP, "b": _BOTTOM},
        hovermode="x unified", hoversubplots="axis", dragmode="zoom", showlegend=False, uirevision="kept",
        meta={"span": "span"},
    )  # fmt: skip
    if mark is not None:
        figure.add_vline(x=mark[0], line={"dash": "dot", "width": 1.5, "color": "#888888"}, layer="below")
        figure.add_annotation(
            text=mark[1], x=mark[0], xanchor="left", xshift=4, y=1, yref="y domain", yanchor="top", showarrow=False,
            font={"size": 12},
        )  # fmt: skip
    return whole_steps(figure)


def tail(lines: Sequence[Line], after: Callable[[Line], int], *, log: bool) -> dict[str, list[list[Any]]]:
    """Return x, y and customdata of the traces for the readings above a step of each line."""
    found: dict[str, list[list[Any]]] = {"x": [], "y": [], "customdata": []}
    for index, line in enumerate(lines):
        new = line.steps > after(line)
        smooth = None if line.smooth is None else line.smooth[new]
        for points in _points(line.steps[new], line.values[new], smooth, index, log=log):
            for key, values in points.items():
                found[key].append(values.tolist())
    return found


def lowest_mark(place: int) -> float:
    """The height of the marks of the line of that place in its panel, as a share of it."""
    return 0.04 + 0.05 * (place % 6)


def _points(steps: Any, values: Floats, smooth: Floats | None, place: int, *, log: bool) -> list[dict[str, Any]]:
    """x, y and customdata of the traces of a line, as arrays of objects: numbers in binary cannot be extended."""
    steps = steps.astype(object)
    fits = np.isfinite(values) & ((values > 0) | (not log))
    drawn = _numbers(values, fits)
    averaged = np.full(len(steps), None, object) if smooth is None else _numbers(smooth, np.isfinite(smooth))
    if log and smooth is not None:
        averaged[~(np.nan_to_num(smooth) > 0)] = None
    lost = np.flatnonzero(~fits)
    words = np.array([_word(value) for value in values[lost].tolist()], object)
    heights = np.where(values[lost] == np.inf, 1 - lowest_mark(place), lowest_mark(place)).astype(object)
    return [
        {"x": steps, "y": drawn, "customdata": drawn},
        {"x": steps if smooth is not None else steps[:0], "y": averaged if smooth is not None else averaged[:0],
         "customdata": averaged if smooth is not None else averaged[:0]},
        {"x": steps[lost], "y": heights, "customdata": words},
    ]  # fmt: skip


def _numbers(values: Floats, fits: Any) -> Any:
    found = values.astype(object)
    found[~fits] = None
    return found


def _word(value: float) -> str:
    return "NaN" if np.isnan(value) else "+inf" if value == np.inf else "-inf" if value == -np.inf else f"{value:.4g}"


_SYMBOLS = {"NaN": "x", "+inf": "triangle-up", "-inf": "triangle-down"}


def _traces(line: Line, panel: int, place: int, *, log: bool) -> list[go.Scatter]:
    raw, averaged, lost = _points(line.steps, line.values, line.smooth, place, log=log)
    axis = "y" if panel == 0 else f"y{panel + 1}"
    color = COLORS[line.color % len(COLORS)]
    name = escape(line.name)
    is_smooth = line.smooth is not None
    style = {"color": color, "width": 2, "dash": DASHES[line.dash % len(DASHES)]}
    marker = {"color": color, "size": 5}
    own: dict[str, Any] = {"mode": _mode(line, raw["y"]), "line": style, "marker": marker}
    if is_smooth:
        own = {"mode": "lines", "line": {"color": color, "width": 1}, "opacity": 0.32}
    symbols = [_SYMBOLS.get(word, "triangle-down-open") for word in lost["customdata"]]
    told = {"hoverinfo": "skip"} if is_smooth else {"hovertemplate": "%{customdata:.4g}"}
    return [
        go.Scatter(**raw, yaxis=axis, name=f"{name}, as measured" if is_smooth else name, **told, **own),
        go.Scatter(
            **averaged, yaxis=axis, name=f"{name}, smoothed", mode="lines", line=style,
            hovertemplate="%{customdata:.4g}",
        ),
        go.Scatter(
            **lost, yaxis=f"y{_hidden(panel)}", name=name, mode="markers",
            marker={"color": color, "size": 8, "symbol": symbols}, hovertemplate="%{customdata}",
        ),
    ]  # fmt: skip


def _mode(line: Line, drawn: Any) -> str:
    """Points too where they are few, or where one stands alone between gaps and would have no line."""
    known = np.array([value is not None for value in drawn], bool)
    padded = np.concatenate(([False], known, [False]))
    alone = known & ~padded[:-2] & ~padded[2:]
    return "lines+markers" if len(line.steps) < _FEW or bool(alone.any()) else "lines"


def _hidden(panel: int) -> int:
    """Number of the axis, from 0 to 1 over the height of a panel, on which its marks stand."""
    return 101 + panel


def _place(figure: go.Figure, axes: Sequence[Axis], lines: Sequence[Line], *, log: bool) -> None:
    """Stack the panels, the first at the top."""
    whole = len(axes) * (_PANEL + _GAP)
    for index, axis in enumerate(axes):
        top = 1 - (index * (_PANEL + _GAP) + _GAP) / whole
        domain = [max(0.0, top - _PANEL / whole), top]
        name = "yaxis" if index == 0 else f"yaxis{index + 1}"
        overlaid = "y" if index == 0 else f"y{index + 1}"
        kind: dict[str, Any] = {}
        if log:
            drawn = [line.values for line in lines if axis_of(line.signal) == axis]
            kind = {"type": "log", "exponentformat": "power", "dtick": log_ticks(np.concatenate(drawn))}
        figure.update_layout({
            name: {"domain": domain, "fixedrange": True, "anchor": "x", "nticks": 6, **kind},
            f"yaxis{_hidden(index)}": {
                "overlaying": overlaid, "range": [0, 1], "visible": False, "fixedrange": True, "anchor": "x",
            },
        })  # fmt: skip
        figure.add_annotation(
            text=f"<b>{escape(axis.of + ', ' if axis.of else '')}{escape(axis.title)}</b>", x=0, xref="paper",
            xanchor="left", y=top, yref="paper", yanchor="bottom", yshift=4, showarrow=False, font={"size": 12},
        )  # fmt: skip
