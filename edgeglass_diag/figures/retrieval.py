"""Recall, and recall against width: the Matryoshka curve with its controls."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from edgeglass_diag.figures.style import empty_figure

WAYS: dict[str, tuple[str, int, dict[str, Any], str]] = {
    "prefix": ("first dims", 0, {"width": 3}, "circle"),
    "pca": ("principal axes", 3, {"width": 1.5, "dash": "dash"}, "diamond-open"),
    "untrained": ("untrained truncation", 2, {"width": 1.5, "dash": "dash"}, "square-open"),
    "random": ("random dims", 1, {"width": 1.5, "dash": "dot"}, "x-thin-open"),
    "int8": ("int8 first dims", 4, {"width": 1.5, "dash": "dashdot"}, "triangle-up-open"),
    "binary": ("binary first dims", 5, {"width": 1.5, "dash": "dashdot"}, "triangle-down-open"),
}
"""Name, place in the colours of the template, line and marker of each way to store less."""


def mrl_figure(
    curve: pd.DataFrame,
    template: go.layout.Template,
    *,
    knee: int | None = None,
    chance: float | None = None,
    measure: str = "R@1",
) -> go.Figure:
    """Mean recall of both directions against width, with the storage saved, controls, knee and chance.

    Args:
        curve: columns ``way``, ``dims``, ``saved``, ``i2t``, ``t2i``, ``mean``, as ``curve_frame`` gives them.
        template: one of ``TEMPLATES``, or any other plotly template.
        knee: the width at which the curve bends, if it does.
        chance: the recall of a random ranking.
        measure: what the recall is called.
    """
    if curve.empty:
        return empty_figure(template, "no widths were measured")
    figure = _figure(template)
    for way, (name, color, line, symbol) in WAYS.items():
        rows = curve[curve["way"] == way].sort_values("dims")
        if rows.empty:
            continue
        shade = template.layout.colorway[color]
        figure.add_scatter(
            x=rows["dims"].to_numpy(), y=rows["mean"].to_numpy(), name=name, mode="lines+markers",
            line={**line, "color": shade}, marker={"symbol": symbol, "size": 9 if way == "prefix" else 8},
            customdata=rows[["saved", "i2t", "t2i"]].to_numpy(),
            hovertemplate="%{y:.3f}, %{customdata[0]:.3g}x saved (i2t %{customdata[1]:.3f}, t2i %{customdata[2]:.3f})",
        )  # fmt: skip
    prefixes = curve[curve["way"] == "prefix"].sort_values("dims")
    ticks = [
        f"{int(dims)}<br>{saved:.3g}x" if math.log2(saved).is_integer() else ""
        for dims, saved in zip(prefixes["dims"], prefixes["saved"], strict=True)
    ]  # those between halvings are too near to have words on a phone
    span = np.log10([prefixes["dims"].min() / 1.25, prefixes["dims"].max() * 1.25])
    title = "dims, and storage saved"
    figure.update_xaxes(
        type="log",
        tickvals=prefixes["dims"].to_numpy(),
        ticktext=ticks,
        tickangle=0,
        range=span.tolist(),
        title_text=title,
    )
    figure.update_yaxes(title_text=f"{measure}, mean of both directions", range=[0, _top(curve["mean"])])
    if chance is not None:
        _mark_chance(figure, chance, template)
    if knee is not None:
        _mark_knee(figure, knee, prefixes, template)
    return figure


def recall_bars(recalls: pd.DataFrame, template: go.layout.Template) -> go.Figure:
    """Recall@K of one or several runs with 95 % intervals, and chance as a short line.

    Args:
        recalls: columns ``way``, ``k``, ``recall``, ``low``, ``high``, ``chance``, and ``run`` where several are.
        template: one of ``TEMPLATES``, or any other plotly template.
    """
    if recalls.empty:
        return empty_figure(template, "no recall was measured")
    figure = _figure(template)
    runs = recalls if "run" in recalls else recalls.assign(run="recall")
    for index, (run, rows) in enumerate(runs.groupby("run", sort=False)):
        x = (rows["way"] + " " + rows["k"]).tolist()
        spread = {
            "type": "data", "symmetric": False, "thickness": 1.2, "width": 3,
            "array": (rows["high"] - rows["recall"]).to_numpy(),
            "arrayminus": (rows["recall"] - rows["low"]).to_numpy(),
        }  # fmt: skip
        colors = template.layout.colorway
        shade = colors[(0, 2, 3, 4, 5, 1)[index % 6]]
        figure.add_bar(
            x=x, y=rows["recall"].to_numpy(), name=str(run), error_y=spread, marker_color=shade,
            customdata=rows["chance"].to_numpy(),
            hovertemplate="%{y:.4f}, chance %{customdata:.4f}<extra>%{fullData.name}</extra>",
        )  # fmt: skip
    first = runs[runs["run"] == runs["run"].iloc[0]]
    tick = {"symbol": "line-ew-open", "size": 70, "line": {"width": 2}, "color": template.layout.font.color}
    figure.add_scatter(
        x=(first["way"] + " " + first["k"]).tolist(), y=first["chance"].to_numpy(), mode="markers", marker=tick,
        name="chance", hoverinfo="skip",
    )  # fmt: skip
    figure.update_yaxes(title_text="recall, 95 % interval", range=[0, 1.03])
    figure.update_layout(barmode="group", hovermode="closest", showlegend=True, margin_r=16)
    return figure


def _mark_chance(figure: go.Figure, chance: float, template: go.layout.Template) -> None:
    figure.add_hline(y=chance, line={"dash": "dash", "width": 2, "color": template.layout.colorway[1]})
    figure.add_annotation(
        text=f"chance {chance:.2g}", x=1, xref="x domain", xanchor="right", y=chance, yanchor="bottom", showarrow=False
    )


def _mark_knee(figure: go.Figure, knee: int, prefixes: pd.DataFrame, template: go.layout.Template) -> None:
    row = prefixes[prefixes["dims"] == knee].iloc[0]
    figure.add_vline(x=knee, line={"dash": "dot", "width": 1.5, "color": template.layout.font.color})
    figure.add_annotation(
        text=f"knee: {knee} dims, {row['saved']:.3g}x saved", x=float(np.log10(knee)), y=0.02, yref="y domain",
        xanchor="left", yanchor="bottom", xshift=6, showarrow=False,
    )  # fmt: skip


def _top(values: pd.Series) -> float:
    """The end of the axis: the whole scale unless all recalls are far below it."""
    largest = float(values.max())
    return 1.02 if not largest < 0.5 else max(2.2 * largest, 0.01)


def _figure(template: go.layout.Template) -> go.Figure:
    return go.Figure(
        layout={
            "template": template,
            "uirevision": "kept",
            "margin": {"l": 8, "r": 16, "t": 36, "b": 8},
            "hovermode": "x unified",
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        }
    )
