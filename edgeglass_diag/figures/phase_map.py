"""A phase diagram: a grid of settings, each cell with the colour of what became of the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go

DEPTH = [[0.0, "#c6dbef"], [0.35, "#6baed6"], [0.7, "#2171b5"], [1.0, "#08306b"]]
"""How far a training that learns gets, from chance (light) to a loss of 0 (dark)."""

_ROW, _TITLE, _LEAST = 34, 74, 280
"""Height of a row of cells, of what stands around a panel, and of the smallest figure, in pixels."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One cell: the kind of its outcome, the ``text`` in it and what is said of it at the pointer.

    ``depth`` is how far the loss is below chance, from 0 to 1, where the colour shows it; else None.
    """

    kind: str
    text: str
    said: str
    depth: float | None = None


@dataclass(frozen=True, slots=True)
class TilePanel:
    """A part of the diagram: rows of tiles from top to bottom."""

    title: str
    rows: tuple[tuple[Tile, ...], ...]


@dataclass(frozen=True, slots=True)
class TileAxis:
    """Name and values of a setting."""

    name: str
    values: tuple[str, ...]


def phase_figure(
    panels: Sequence[TilePanel],
    x: TileAxis,
    y: TileAxis,
    kinds: Mapping[str, str],
    template: go.layout.Template,
    *,
    columns: int,
) -> go.Figure:
    """Draw the panels side by side.

    Args:
        panels: at least one, row by row.
        x: the setting from left to right.
        y: the setting from top to bottom.
        kinds: colour of each kind of tile that is not drawn by its depth.
        template: one of ``TEMPLATES``.
        columns: panels in a row.
    """
    from plotly.subplots import make_subplots

    rows = -(-len(panels) // columns)
    height = max(_LEAST, rows * (_ROW * len(y.values) + _TITLE) + 60)
    figure = make_subplots(
        rows, columns, shared_xaxes="all", shared_yaxes="all", horizontal_spacing=0.03,
        vertical_spacing=min(0.9 / rows, _TITLE / height), subplot_titles=[escape(panel.title) for panel in panels],
    )  # fmt: skip
    for index, panel in enumerate(panels):
        place = {"row": index // columns + 1, "col": index % columns + 1}
        _draw(figure, panel, x, y, kinds, place)
    shown = {tile.kind for panel in panels for row in panel.rows for tile in row if tile.depth is None}
    for kind in (kind for kind in kinds if kind in shown):
        marker = {"symbol": "square", "size": 13, "color": kinds[kind]}
        figure.add_scatter(x=[None], y=[None], mode="markers", marker=marker, name=kind, hoverinfo="skip")
    figure.update_xaxes(type="category", showgrid=False, ticks="", showticklabels=True)
    figure.update_yaxes(type="category", showgrid=False, ticks="", range=[len(y.values) - 0.5, -0.5])
    for column in range(1, columns + 1):
        figure.update_xaxes(title_text=escape(x.name), row=rows, col=column)
    for row in range(1, rows + 1):
        figure.update_yaxes(title_text=escape(y.name), row=row, col=1)
    figure.update_annotations(font_size=12)
    figure.update_layout(
        template=template, height=height, uirevision="kept", margin={"l": 8, "r": 8, "t": 64, "b": 8},
        legend={"orientation": "h", "y": 1, "yref": "container", "yanchor": "top", "x": 0},
        coloraxis={
            "colorscale": DEPTH, "cmin": 0, "cmax": 1,
            "colorbar": {
                "title": {"text": "learns: loss below chance", "side": "right"}, "thickness": 14, "outlinewidth": 0,
                "tickformat": ".0%", "nticks": 5,
            },
        },
    )  # fmt: skip
    return figure


def _draw(
    figure: go.Figure, panel: TilePanel, x: TileAxis, y: TileAxis, kinds: Mapping[str, str], place: Mapping[str, int]
) -> None:
    """Add one layer of cells for those that have a depth, and one for each other kind."""
    depths = [[tile if tile.depth is not None else None for tile in row] for row in panel.rows]
    _layer(figure, depths, x, y, place, name="learns", coloraxis="coloraxis")
    for kind, color in kinds.items():
        chosen = [[tile if tile.depth is None and tile.kind == kind else None for tile in row] for row in panel.rows]
        flat = {"colorscale": [[0, color], [1, color]], "zmin": 0, "zmax": 1, "showscale": False}
        _layer(figure, chosen, x, y, place, name=kind, **flat)


def _layer(
    figure: go.Figure,
    tiles: Sequence[Sequence[Tile | None]],
    x: TileAxis,
    y: TileAxis,
    place: Mapping[str, int],
    **look: Any,
) -> None:
    if not any(tile for row in tiles for tile in row):
        return
    figure.add_heatmap(
        x=list(x.values), y=list(y.values), z=[[_level(tile) for tile in row] for row in tiles],
        text=[["" if tile is None else escape(tile.text) for tile in row] for row in tiles],
        customdata=[["" if tile is None else escape(tile.said) for tile in row] for row in tiles],
        texttemplate="%{text}", hovertemplate="%{customdata}<extra></extra>", hoverongaps=False, xgap=2, ygap=2,
        **look, **place,
    )  # fmt: skip


def _level(tile: Tile | None) -> float | None:
    if tile is None:
        return None
    return 0.5 if tile.depth is None else min(1.0, max(0.0, tile.depth))
