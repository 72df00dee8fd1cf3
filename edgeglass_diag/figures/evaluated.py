"""Evaluation passes by step: recall with its interval, loss beside the training's, both by prefix width."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from edgeglass_diag.figures.lines import line_figure
from edgeglass_diag.figures.step_axis import whole_steps
from edgeglass_diag.figures.style import TEMPLATES

if TYPE_CHECKING:
    import pandas as pd

_SIDES = {"image": ("image to text", 0, "circle"), "text": ("text to image", 2, "diamond")}
_BAND = 0.18
_MANY = 60
_ON_LIGHT, _ON_DARK = (0.0, 0.55), (0.4, 1.0)
"""Parts of Viridis that stand out from the ground by 3 to 1 at least (WCAG 2.2, 1.4.11)."""


def evaluated_recall_figure(recalls: pd.DataFrame, template: go.layout.Template) -> go.Figure:
    """R@1 of each side at its widest by step, with the 95 % interval as a band and chance as a dashed line.

    Args:
        recalls: as ``of_evaluation.read_recalls`` gives them, with a row at least.
        template: one of ``TEMPLATES``.
    """
    figure = _figure(template, "R@1 within the batch")
    widest = recalls[recalls["width"] == recalls.groupby("module")["width"].transform("max")]
    groups = [(str(module), str(side), rows) for (module, side), rows in widest.groupby(["module", "side"], sort=False)]
    sides = [side for _, side, _ in groups]
    for index, (module, side, rows) in enumerate(groups):
        words, place, symbol = _SIDES.get(side, (module, 3 + index % 3, "square"))
        shade = template.layout.colorway[place if sides.count(side) == 1 else index % len(template.layout.colorway)]
        name = words if sides.count(side) == 1 else f"{words} ({module})"
        x = rows["step"].tolist()
        _band(figure, x, rows["low"].tolist(), rows["high"].tolist(), shade)
        _recalls(figure, rows, name, shade, symbol)
    return _with_chance(figure, widest, template)


def evaluated_loss_figure(losses: pd.DataFrame, template: go.layout.Template) -> go.Figure:
    """The loss of the training and of evaluations by step, with chance as a dashed line.

    Args:
        losses: as ``of_evaluation.read_losses`` gives them, with a row at least.
        template: one of ``TEMPLATES``.
    """
    figure = _figure(template, "loss, nats")
    colors = template.layout.colorway
    for phase, color, symbol in (("training", colors[0], "circle"), ("validation", colors[2], "diamond")):
        rows = losses[losses["phase"] == phase]
        x = rows["step"].tolist()
        figure.add_scatter(
            x=x, y=_finite(rows["value"]), name=phase, mode=_mode(x) if phase == "training" else "lines+markers",
            line={"color": color, "width": 1.5 if phase == "training" else 2}, marker={"symbol": symbol, "size": 6},
            hovertemplate="%{y:.4g}",
        )  # fmt: skip
    chance = losses[losses["phase"] == "chance"]
    _dashed(figure, chance["step"].tolist(), chance["value"].tolist(), template)
    return whole_steps(figure.update_yaxes(rangemode="tozero").update_layout(showlegend=True))


def width_recall_figure(recalls: pd.DataFrame, template: go.layout.Template) -> go.Figure:
    """R@1 by step with a line for each prefix width, the mean of both directions, and chance.

    Args:
        recalls: columns ``step``, ``width``, ``value``, ``low``, ``high``, ``chance``, of several widths.
        template: one of ``TEMPLATES``.
    """
    figure = _figure(template, "R@1, mean of both directions")
    mean = recalls.groupby(["width", "step"], as_index=False)[["value", "low", "high", "chance"]].mean()
    for width, shade in _shades(mean["width"], template):
        rows = mean[mean["width"] == width]
        _recalls(figure, rows, f"{width} dims", shade, of="95 % of one direction")
    return _with_chance(figure, mean, template)


def width_loss_figure(losses: pd.DataFrame, template: go.layout.Template) -> go.Figure:
    """The loss by step with a colour for each prefix width: of the training thin, of evaluations with points.

    Args:
        losses: as ``of_evaluation.read_width_losses`` gives them, with a row at least.
        template: one of ``TEMPLATES``.
    """
    figure = _figure(template, "loss, nats")
    phases = {"training": ("lines", 1, "dot"), "validation": ("lines+markers", 2, "solid")}
    present = [phase for phase in phases if (losses["phase"] == phase).any()]
    for width, shade in _shades(losses["width"], template):
        for phase in present:
            rows = losses[(losses["width"] == width) & (losses["phase"] == phase)]
            mode, thickness, dash = phases[phase]
            figure.add_scatter(
                x=rows["step"].tolist(), y=_finite(rows["value"]), mode=mode, name=f"{width} dims",
                legendgroup=str(width), showlegend=phase == present[-1], marker={"size": 6},
                line={"color": shade, "width": thickness, "dash": dash}, hovertemplate=f"%{{y:.4g}} {phase}",
            )  # fmt: skip
    return whole_steps(figure.update_yaxes(rangemode="tozero"))


def _figure(template: go.layout.Template, title: str) -> go.Figure:
    return line_figure(template, title).update_layout(margin_r=16)


def _shades(widths: Iterable[int], template: go.layout.Template) -> list[tuple[int, str]]:
    """The widths, largest first, each with its colour: one scale, as they are in an order."""
    found = sorted({int(width) for width in widths}, reverse=True)
    dark = template.layout.font.color == TEMPLATES["dark"].layout.font.color
    first, last = _ON_DARK if dark else _ON_LIGHT
    places = [first + (last - first) * index / max(1, len(found) - 1) for index in range(len(found))]
    return list(zip(found, sample_colorscale("Viridis", places), strict=True))


def _recalls(
    figure: go.Figure, rows: pd.DataFrame, name: str, shade: str, symbol: str = "circle", *, of: str = "95 %"
) -> None:
    x = rows["step"].tolist()
    figure.add_scatter(
        x=x, y=_finite(rows["value"]), name=name, mode=_mode(x), line={"color": shade},
        marker={"symbol": symbol, "size": 7}, customdata=rows[["low", "high"]].to_numpy(),
        hovertemplate=f"%{{y:.3f}} ({of}: %{{customdata[0]:.3f}} to %{{customdata[1]:.3f}})",
    )  # fmt: skip


def _with_chance(figure: go.Figure, recalls: pd.DataFrame, template: go.layout.Template) -> go.Figure:
    chance = recalls.groupby("step")["chance"].mean()
    _dashed(figure, chance.index.tolist(), chance.tolist(), template)
    return whole_steps(figure.update_yaxes(range=[0, 1.03]))


def _band(figure: go.Figure, x: Sequence[int], low: Sequence[float], high: Sequence[float], shade: str) -> None:
    if not x or not all(map(math.isfinite, (*low, *high))):
        return
    red, green, blue = (int(shade[at : at + 2], 16) for at in (1, 3, 5))
    figure.add_scatter(
        x=[*x, *reversed(x)], y=[*high, *reversed(low)], fill="toself", mode="none", hoverinfo="skip",
        fillcolor=f"rgba({red},{green},{blue},{_BAND})", showlegend=False,
    )  # fmt: skip


def _dashed(figure: go.Figure, x: Sequence[int], y: Sequence[float], template: go.layout.Template) -> None:
    if not x:
        return
    single: dict[str, Any] = {"symbol": "line-ew-open", "size": 60, "line": {"width": 2}}
    shade = template.layout.colorway[1]
    figure.add_scatter(
        x=list(x), y=_finite(y), name="chance", mode="lines" if len(x) > 1 else "markers", marker=single,
        line={"dash": "dash", "width": 2, "color": shade}, marker_color=shade, hovertemplate="%{y:.4g}",
    )  # fmt: skip


def _finite(values: Iterable[float]) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]


def _mode(x: Sequence[int]) -> str:
    return "lines+markers" if len(x) < _MANY else "lines"
