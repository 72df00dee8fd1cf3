"""How every figure looks: fonts, grids and colours that any colour vision can distinguish, in light and dark."""

from __future__ import annotations

from html import escape
from textwrap import wrap

import plotly.graph_objects as go

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"


def _template(text: str, grid: str, colors: list[str], hover: str) -> go.layout.Template:
    axis = {
        "gridcolor": grid,
        "linecolor": grid,
        "zeroline": False,
        "automargin": True,
        "ticklabelstandoff": 5,
        "title": {"standoff": 8},
    }
    return go.layout.Template(
        layout={
            "font": {"family": _FONT, "size": 13, "color": text},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": colors,
            "xaxis": axis,
            "yaxis": axis,
            "hoverlabel": {"bgcolor": hover, "font": {"family": _FONT, "color": text}},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": text, "activecolor": colors[0]},
        }
    )


# Okabe and Ito's colours, told apart with any colour vision, some of them darker for lines on white; the second of
# each is the grey of chance and of what is only compared with.
TEMPLATES: dict[str, go.layout.Template] = {
    "light": _template(
        "#343a40", "#dee2e6", ["#0072B2", "#6c757d", "#D55E00", "#00785A", "#A8468C", "#8A6100"], "#ffffff"
    ),
    "dark": _template(
        "#ced4da", "#424242", ["#56B4E9", "#adb5bd", "#E69F00", "#3DC9A0", "#E08FC4", "#F0E442"], "#2e2e2e"
    ),
}
PAPER = {"light": "#ffffff", "dark": "#1a1b1e"}
"""The ground that each is made for, where a figure does not stand on a page of its own."""


def empty_figure(template: go.layout.Template, reason: str, title: str = "") -> go.Figure:
    """A figure without axes that says why there is nothing to see."""
    figure = go.Figure(layout={"template": template, "xaxis_visible": False, "yaxis_visible": False})
    figure.update_layout(margin={"l": 8, "r": 8, "t": 36 if title else 8, "b": 8}, title=title or None)
    words = "<br>".join(wrap(escape(reason), 48))
    return figure.add_annotation(
        text=words, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font={"size": 15}
    )
