"""Where the embeddings of both sides lie: projections with pair lines, cosines of pairs, spectra, hubs."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from edgeglass_diag.figures.embedding_marks import frame_plane, hover_text
from edgeglass_diag.figures.log_axis import log_ticks
from edgeglass_diag.figures.style import empty_figure

SIDES = {"image": (0, "circle", "solid"), "text": (2, "diamond-open", "dash")}
"""Place in the colours of the template, marker and line of each side."""
LINES = 250
"""Pair lines at most: more of them hide the points."""


def projection_figure(
    points: pd.DataFrame,
    template: go.layout.Template,
    *,
    axes: tuple[str, str] = ("", ""),
    note: str = "",
    empty: str = "",
    labels: pd.Series | None = None,
    colors: tuple[str, Mapping[str, Any]] | None = None,
) -> go.Figure:
    """Both sides on a plane, a thin line from each image to its caption.

    Args:
        points: columns ``side`` (image or text), ``pair``, ``x``, ``y``.
        template: one of ``TEMPLATES``, or any other plotly template.
        axes: names of both axes.
        note: what belongs below the picture: sample, settings, warnings.
        empty: why there is no picture; said where there are no points.
        labels: text of each pair for hovering, by ``pair``.
        colors: what the points are coloured by, and by side a number for each pair; by side alone where None.
    """
    if points.empty:
        return empty_figure(template, empty or "no pairs")
    figure = _figure(template)
    _add_pair_lines(figure, points, template)
    written = None if labels is None else labels.map(hover_text)
    for side, (color, symbol, _) in SIDES.items():
        mine = points[points["side"] == side]
        said = mine["pair"].map((lambda pair: f"pair {pair}") if written is None else written)
        figure.add_scatter(
            x=mine["x"].to_numpy(),
            y=mine["y"].to_numpy(),
            text=said.tolist(),
            name=side,
            legendgroup=side,
            showlegend=colors is None,
            mode="markers",
            customdata=mine["pair"].tolist(),
            marker={"size": 7, "symbol": symbol, "opacity": 0.85}
            | ({"color": template.layout.colorway[color]} if colors is None else _colored(colors, side)),
            hovertemplate="%{text}<extra>" + side + "</extra>",
        )
    if colors is not None:
        _explain_colors(figure, colors[0], template)
    frame_plane(figure, axes)
    if note:
        _note_below(figure, note, 34)
    return figure


def density_figure(density: pd.DataFrame, template: go.layout.Template) -> go.Figure:
    """Densities of the cosines of pairs and non-pairs; cosines that are all one value are a vertical line.

    Args:
        density: columns ``kind`` (pairs, non-pairs), ``cosine``, ``density``, ``mean``, ``count``, and
            ``attrs["separation"]``, as ``density_frame`` gives them.
        template: one of ``TEMPLATES``, or any other plotly template.
    """
    if density.empty:
        return empty_figure(template, "no pair with two finite sides")
    separation = density.attrs.get("separation", np.nan)
    note = "" if np.isnan(separation) else f"a pair is above a non-pair with probability {separation:.3f}"
    figure = _figure(template, note)
    tallest = float(density["density"].replace(np.inf, np.nan).max())
    height = tallest if np.isfinite(tallest) else 1.0
    kinds = {"pairs": (0, "solid", "tozeroy"), "non-pairs": (2, "dash", None)}
    for kind, (color, dash, fill) in kinds.items():
        rows = density[density["kind"] == kind]
        if rows.empty:
            continue
        spike = bool(np.isinf(rows["density"]).all())
        x, y = (rows["cosine"], rows["density"]) if not spike else ([rows["cosine"].iloc[0]] * 2, [0, height])
        name = f"{kind}: {'all' if spike else 'mean'} {rows['mean'].iloc[0]:.3f}"
        line = {"color": template.layout.colorway[color], "dash": dash, "width": 3 if spike else 2}
        figure.add_scatter(
            x=np.asarray(x), y=np.asarray(y), name=name, mode="lines", line=line, fill=None if spike else fill,
            hovertemplate=f"cosine %{{x:.3f}}<extra>{kind}</extra>",
        )  # fmt: skip
    figure.update_xaxes(title_text="cosine similarity", range=None if np.isfinite(tallest) else [-1.05, 1.05])
    figure.update_yaxes(title_text="density", rangemode="tozero", showticklabels=bool(np.isfinite(tallest)))
    return figure


def spectrum_figure(spectrum: pd.DataFrame, template: go.layout.Template) -> go.Figure:
    """Singular values of each side relative to its largest, both axes logarithmic.

    Args:
        spectrum: columns ``side``, ``index``, ``value``, ``rank``, as ``spectrum_frame`` gives them.
        template: one of ``TEMPLATES``, or any other plotly template.
    """
    if spectrum.empty:
        return empty_figure(template, "no singular value: every embedding is zero or not finite")
    figure = _figure(template)
    for side, (color, symbol, dash) in SIDES.items():
        rows = spectrum[spectrum["side"] == side]
        rank = f"{side}: effective rank {rows['rank'].iloc[0]:.1f}" if len(rows) else f"{side}: all zero"
        marked = len(rows) < 30
        figure.add_scatter(
            x=rows["index"].to_numpy(), y=rows["value"].to_numpy(), name=rank,
            mode="lines+markers" if marked else "lines", marker={"symbol": symbol, "size": 8},
            line={"color": template.layout.colorway[color], "dash": dash},
            hovertemplate=f"value %{{x}}: %{{y:.2e}} of the largest<extra>{side}</extra>",
        )  # fmt: skip
    figure.update_xaxes(title_text="singular value", type="log", tickformat="d", dtick=log_ticks(spectrum["index"]))
    figure.update_yaxes(title_text="relative to the largest", type="log", exponentformat="power", dtick=1)
    if spectrum["index"].max() == 1:
        figure.update_xaxes(range=[-0.3, 1.0])
    lowest = float(np.log10(spectrum["value"].min()))
    figure.update_yaxes(range=[min(-1.0, lowest) - 0.15, 0.15])
    return figure


def hubness_figure(found: pd.DataFrame, template: go.layout.Template) -> go.Figure:
    """How often each candidate stands among the first k, most found first: flat is even, steep is hubs.

    Args:
        found: columns ``way`` (i2t, t2i), ``occurrence``, and ``attrs["k"]``, as ``occurrence_frame`` gives them.
        template: one of ``TEMPLATES``, or any other plotly template.
    """
    if found.empty:
        return empty_figure(template, "fewer than 2 pairs with finite sides")
    tied = bool(np.ptp(found["occurrence"]) < 1e-9)
    figure = _figure(template, "all candidates tie: none is told from another" if tied else "")
    names = {"i2t": ("captions, found by images", SIDES["text"]), "t2i": ("images, found by captions", SIDES["image"])}
    for way, (name, (color, _, dash)) in names.items():
        ordered = np.sort(found.loc[found["way"] == way, "occurrence"].to_numpy())[::-1]
        share = (np.arange(len(ordered)) + 0.5) / max(1, len(ordered))
        line = {"color": template.layout.colorway[color], "dash": dash, "shape": "hv"}
        figure.add_scatter(
            x=share, y=ordered, name=name, mode="lines", line=line,
            hovertemplate="found %{y:.3g} times<extra>" + name + "</extra>",
        )  # fmt: skip
    k = found.attrs.get("k", 10)
    even = float(found["occurrence"].mean())
    figure.add_hline(y=even, line={"dash": "dot", "color": template.layout.colorway[1]})
    figure.add_annotation(
        text=f"even: {even:.3g}", x=1, xref="x domain", xanchor="right", y=even, yanchor="bottom", showarrow=False
    )
    figure.update_xaxes(title_text="share of the candidates", tickformat=".0%", range=[0, 1])
    figure.update_yaxes(title_text=f"times among the first {k}", rangemode="tozero")
    return figure


def _add_pair_lines(figure: go.Figure, points: pd.DataFrame, template: go.layout.Template) -> None:
    """One trace of lines with gaps; every so many pairs where there are too many."""
    both = points.pivot(index="pair", columns="side", values=["x", "y"]).dropna()
    both = both.iloc[:: -(-len(both) // LINES) or 1]
    gap = np.full(len(both), np.nan)
    x, y = (np.stack([both[axis]["image"], both[axis]["text"], gap], 1).ravel() for axis in ("x", "y"))
    figure.add_scatter(
        x=x, y=y, mode="lines", name="pairs", hoverinfo="skip", opacity=0.45,
        line={"width": 0.8, "color": template.layout.colorway[1]},
    )  # fmt: skip


def _figure(template: go.layout.Template, note: str = "") -> go.Figure:
    figure = go.Figure(
        layout={
            "template": template,
            "uirevision": "kept",
            "margin": {"l": 8, "r": 16, "t": 36, "b": 8},
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            "showlegend": True,
        }
    )
    if note:
        _note_below(figure, note, 56)
    return figure


def _note_below(figure: go.Figure, note: str, below: int) -> None:
    """Small print under the axis and its title; the margin makes room for it."""
    lines = [line for part in note.split("\n") for line in wrap(escape(part), 60)]
    style: dict[str, Any] = {"xref": "paper", "yref": "paper", "showarrow": False, "align": "left"}
    figure.add_annotation(
        text="<br>".join(lines), x=0, y=0, xanchor="left", yanchor="top", yshift=-below, font={"size": 11}, **style
    )
    figure.update_layout(margin_b=below + 12 + 15 * len(lines))


def _colored(colors: tuple[str, Mapping[str, Any]], side: str) -> dict[str, Any]:
    return {"color": np.asarray(colors[1][side], dtype=float).tolist(), "coloraxis": "coloraxis"}


def _explain_colors(figure: go.Figure, title: str, template: go.layout.Template) -> None:
    """Add the scale of the colours, and the sides' symbols to the legend in a colour that is none of them."""
    bar = {"title": {"text": title, "side": "right"}, "thickness": 10}
    figure.update_layout(coloraxis={"colorscale": "Viridis", "colorbar": bar})
    for side, (_, symbol, _) in SIDES.items():
        marker = {"size": 7, "symbol": symbol, "color": template.layout.font.color}
        figure.add_scatter(x=[None], y=[None], name=side, legendgroup=side, mode="markers", marker=marker)
