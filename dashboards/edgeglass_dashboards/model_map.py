"""The model map as components: a link for each module, its state as a sign, in colour and in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html

from edgeglass_dashboards.findings_view import icon
from edgeglass_dashboards.view import View
from edgeglass_diag.figures.model_map import BEHIND, Cell, Lane, State


def model_map(lanes: Sequence[Lane], loss: State) -> Any:
    """The lanes, and the loss that they lead to; nothing where no module has run.

    Args:
        lanes: of the model.
        loss: what is known of the loss.
    """
    if not lanes:
        return None
    head = html.Span([icon(loss.tone), html.Strong("loss")], className="map-head")
    end = html.Div([head, html.Span(loss.words)], className=f"map-loss cell-{loss.tone}")
    behind = [html.Li(_cell(cell)) for lane in lanes if lane.name == BEHIND for cell in lane.cells]
    sides = html.Div([_lane(lane) for lane in lanes if lane.name != BEHIND], className="map-lanes")
    return html.Div([sides, html.Div([html.Ol(behind) if behind else None, end], className="map-end")], className="map")


def map_words(lanes: Sequence[Lane]) -> str:
    """What the map shows, in a sentence."""
    cells = [cell for lane in lanes for cell in lane.cells]
    if not cells:
        return "Modules appear with the first recorded step."
    bad = [cell for cell in cells if cell.state.tone in ("critical", "warning")]
    noted = sum(cell.state.tone == "info" for cell in cells)
    modules = sum(cell.size for cell in cells)
    start = f"{modules} module{'s' if modules != 1 else ''} in order of execution: "
    if bad:
        first = f"{bad[0].path}, {bad[0].state.words.lower()}"
        groups = f" of {len(cells)} groups" if len(cells) != modules else ""
        return f"{start}{len(bad)}{groups} ill, the first is {first}."
    more = f"; {noted} outside of usual bounds" if noted else ""
    return f"{start}no fault is known of any{more}."


def _lane(lane: Lane) -> Any:
    cells = html.Ol([html.Li(_cell(cell)) for cell in lane.cells])
    return html.Section(
        [html.Span(lane.name, className="map-side"), cells],
        className="map-lane", **{"aria-label": f"{lane.name} side"},
    )  # fmt: skip


def _cell(cell: Cell) -> Any:
    count = f", {cell.size} modules" if cell.size > 1 else ""
    said = f"{cell.path}{count}: {cell.state.words}"
    words = cell.state.words if cell.state.tone != "good" else cell.kind or f"{cell.size} modules"
    name = html.Span(cell.label, className="map-name")
    return html.A(
        [
            html.Span([icon(cell.state.tone), name], className="map-head"),
            html.Span(words, className="map-words"),
        ],
        href=View(page="site", site=cell.path).link(),
        className=f"map-cell cell-{cell.state.tone}",
        title=said,
        **{"aria-label": said},
    )
