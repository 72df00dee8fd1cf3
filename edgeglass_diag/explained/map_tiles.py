"""A map as its phase diagram."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeglass_diag.explained.map_words import cell_text, cell_words
from edgeglass_diag.explained.phase_map import CellOutcome, KeptMap, MapCell
from edgeglass_diag.figures.phase_map import Tile, TileAxis, TilePanel, phase_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

COLORS = {
    CellOutcome.LEARNS: "#9ecae1",
    CellOutcome.DISAGREE: "#f0e442",
    CellOutcome.FAILS: "#b4bac0",
    CellOutcome.COLLAPSED: "#d55e00",
    CellOutcome.DIVERGED: "#a8468c",
    CellOutcome.CRASHED: "#343a40",
    CellOutcome.IMPOSSIBLE: "#dee2e6",
    CellOutcome.NOT_RUN: "#eef0f2",
}
"""Told apart with any colour vision, after Okabe and Ito; what learns is blue, the darker the lower its loss."""

_SIDE_BY_SIDE = 3


def map_figure(found: KeptMap, template: go.layout.Template) -> go.Figure:
    """Return the phase diagram of a map; its third axis makes panels, a fourth one columns of them."""
    panels = [TilePanel(each.title, tuple(tuple(map(_tile, row)) for row in each.rows)) for each in found.panels()]
    columns = len(found.axes[3].values) if len(found.axes) > 3 else min(_SIDE_BY_SIDE, len(panels))
    y = TileAxis("", ("",)) if found.y is None else TileAxis(found.y.setting, found.y.values)
    kinds = {str(outcome): color for outcome, color in COLORS.items()}
    return phase_figure(panels, TileAxis(found.x.setting, found.x.values), y, kinds, template, columns=columns)


def _tile(cell: MapCell) -> Tile:
    learns = cell.outcome is CellOutcome.LEARNS
    depth = -cell.loss if learns and cell.loss is not None else None
    return Tile(str(cell.outcome), cell_text(cell), cell_words(cell), depth)
