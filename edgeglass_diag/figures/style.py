"""How every figure looks: fonts, grids and colours that are told apart with any colour vision, in light and dark."""

from __future__ import annotations

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


# Okabe and Ito's colours, told apart with any colour vision; the second of each is the grey of chance.
TEMPLATES: dict[str, go.layout.Template] = {
    "light": _template("#343a40", "#dee2e6", ["#0072B2", "#6c757d", "#D55E00"], "#ffffff"),
    "dark": _template("#ced4da", "#424242", ["#56B4E9", "#adb5bd", "#E69F00"], "#2e2e2e"),
}
