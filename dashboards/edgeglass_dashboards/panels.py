"""Figures on a page, each of which knows how to draw itself whole and how to add only what is new."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import dash_mantine_components as dmc
from dash import dcc, html

from edgeglass_dashboards.context import Context, frame_of
from edgeglass_dashboards.cursor import Change, Cursor, digest
from edgeglass_diag.figures.heads import heads_figure, heads_points
from edgeglass_diag.figures.heatmaps import broken_strokes, color_values, shown_values, site_heatmap
from edgeglass_diag.figures.lines import Points
from edgeglass_diag.figures.of_run import BINS, columns_for, read_heads, read_heatmap, read_matrix
from edgeglass_diag.figures.scales import Scale, scale_of
from edgeglass_diag.figures.spoken import sentence
from edgeglass_diag.figures.style import TEMPLATES
from edgeglass_diag.records import Reading
from edgeglass_diag.signals import Signal

FEW = 2
"""Fewer readings than this are drawn as points, more as a line."""
_HEIGHT = 320

Updated = tuple[list[Change], Cursor]


class Panel(Protocol):
    """A figure in the slot ``NAME-panel``, or words that say what would fill it."""

    @property
    def name(self) -> str:
        """The id of its graph."""

    @property
    def empty(self) -> str:
        """What is said where there is nothing to draw."""

    def update(self, context: Context, before: Cursor, after: Cursor) -> Updated:
        """Changes since ``before``, and ``after`` with what the figure now shows."""


def slot(panel: Panel, content: dict[str, Any]) -> Any:
    """The children of a panel's place on a page that is drawn for the first time."""
    return content.get(f"{panel.name}-panel", empty(panel.empty))


def empty(words: str) -> Any:
    """Words in the place of a figure that has nothing to show yet."""
    return dmc.Text(words, c="dimmed", className="empty")


def whole(name: str, figure: Any, *, modebar: bool = True, height: int | None = None) -> Change:
    """A figure drawn anew in its place; without ``modebar`` nothing covers its upper edge.

    Args:
        name: of the place.
        figure: whose own height is taken away: its place has it.
        modebar: whether there are buttons at the upper edge.
        height: in pixels; the figure's own if None.
    """
    height = height or figure.layout.height or _HEIGHT
    figure.layout.height = None
    graph = dcc.Graph(
        id=name,
        figure=figure,
        config={"displaylogo": False, "responsive": True} | ({} if modebar else {"displayModeBar": False}),
        style={"height": f"{height}px"},
    )
    return f"{name}-panel", {"children": told(graph)}


def told(graph: dcc.Graph) -> Any:
    """A figure with what it shows in one sentence, which only screen readers read."""
    return html.Figure([graph, html.Figcaption(sentence(graph.figure), className="unseen")])


@dataclass(frozen=True)
class LinePanel:
    """Signals of the whole run by step; ``points`` gives new readings in the order of the figure's traces.

    ``least`` readings of each are needed for a figure.
    """

    name: str
    signals: tuple[Signal, ...]
    figure: Callable[..., Any]
    points: Callable[..., Points]
    empty: str
    least: int = 1

    def update(self, context: Context, before: Cursor, after: Cursor) -> Updated:
        """A whole figure while a signal has hardly begun, later only the points to add to it."""
        fresh = context.fresh
        new = [signal for signal in self.signals if fresh[signal]]
        if not new:
            return [], after
        if all(len(before.recent.get(signal, ())) >= FEW for signal in new):
            added = self.points(*(frame_of(fresh[signal]) for signal in self.signals))
            return [(self.name, {"extendData": [added, list(range(len(added["x"])))]})], after
        known = fresh if not before.rows else {signal: self._until(context, signal, after) for signal in self.signals}
        if any(len(known[signal]) < self.least for signal in self.signals):
            return [], after
        figure = self.figure(*(frame_of(known[signal]) for signal in self.signals), TEMPLATES[context.scheme])
        return [whole(self.name, figure)], after

    @staticmethod
    def _until(context: Context, signal: Signal, cursor: Cursor) -> list[Reading]:
        """The readings up to the cursor: what was written in the meantime belongs to the next poll."""
        return [reading for row, reading in context.run.readings(signal, site="") if row <= cursor.rows[signal]]


@dataclass(frozen=True)
class HeatPanel:
    """A signal at all its sites by step; new steps are added as columns, whatever has been zoomed into stays."""

    name: str
    signal: Signal
    empty: str

    def update(self, context: Context, before: Cursor, after: Cursor) -> Updated:
        """Columns for new steps; the whole where the sites changed, or when it has twice its columns."""
        shows = digest([self.signal])
        known = before.knows(self.name, shows)
        if known and context.hold:
            return [], after
        since = before.rows[self.name] if known else 0
        scale = scale_of(self.signal, context.run.rules)
        matrix = read_matrix(context.run, self.signal, component=scale.component, after=since)
        if matrix is None:
            return ([], after) if known else _nothing(self, after, shows)
        columns, rows = before.drawn[self.name] if known else (0, 0)
        if columns and columns + len(matrix.edges) <= 2 * columns_for(rows) and len(matrix.sites) == rows:
            changes: list[Change] = [(self.name, {"addColumns": self._columns(matrix, scale)})]
        else:
            columns = 0
            matrix = read_heatmap(context.run, self.signal, component=scale.component) or matrix
            figure = site_heatmap(matrix, scale, TEMPLATES[context.scheme])
            figure.layout.uirevision = shows
            changes = [whole(self.name, figure)]
        size = (columns + len(matrix.edges), len(matrix.sites))
        return changes, after.having(self.name, row=matrix.last_row, shows=shows, size=size)

    @staticmethod
    def _columns(matrix: Any, scale: Scale) -> dict[str, Any]:
        """Steps, what to show in them by site, and the strokes through what is not finite.

        Of a site the colour, and where that is a logarithm the value.
        """
        values = shown_values(matrix, scale)
        colors = color_values(values, scale)
        cells = {
            site: {"z": _numbers(colors[row])} | ({"value": _numbers(values[row])} if scale.logarithmic else {})
            for row, site in enumerate(matrix.sites)
        }
        return {"steps": list(matrix.edges), "sites": cells, "broken": broken_strokes(matrix)}


@dataclass(frozen=True)
class HeadsPanel:
    """The components (heads) of one site's signal by step."""

    name: str
    signal: Signal
    site: str
    empty: str

    def update(self, context: Context, before: Cursor, after: Cursor) -> Updated:
        """Points for new steps at each head; the whole where another site is shown, or too many points are."""
        shows = digest([self.signal, self.site])
        known = before.knows(self.name, shows)
        if known and context.hold:
            return [], after
        since = before.rows[self.name] if known else 0
        newest = read_matrix(context.run, self.signal, component="mean", bins=1, after=since)  # before what is drawn
        frame = read_heads(context.run, self.signal, self.site, after=since)
        if frame is None or newest is None:
            return ([], after) if known else _nothing(self, after, shows)
        scale = scale_of(self.signal, context.run.rules)
        columns, heads = before.drawn[self.name] if known else (0, 0)
        added, found = frame["step"].nunique(), frame["component"].nunique()
        if columns and columns + added <= 2 * BINS and found == heads:
            changes: list[Change] = [(self.name, {"extendData": [heads_points(frame, scale), list(range(heads))]})]
        else:
            columns = 0
            whole_frame = read_heads(context.run, self.signal, self.site, bins=BINS)
            frame = frame if whole_frame is None else whole_frame
            figure = heads_figure(frame, scale, TEMPLATES[context.scheme])
            figure.layout.uirevision = shows
            changes, added = [whole(self.name, figure)], frame["step"].nunique()
        return changes, after.having(self.name, row=newest.last_row, shows=shows, size=(columns + added, found))


@dataclass(frozen=True)
class StillPanel:
    """A figure of what holds at one moment: drawn again when ``key`` changes. ``make`` may give None."""

    name: str
    key: Any
    make: Callable[[Any], Any]
    empty: str
    height: int | None = None

    def update(self, context: Context, before: Cursor, after: Cursor) -> Updated:
        """The figure, if what it depends on has changed."""
        shows = digest(self.key)
        if before.seen.get(self.name) == shows:
            return [], after
        figure = self.make(TEMPLATES[context.scheme])
        after = after.having(self.name, row=0, shows=shows, size=(0, 0))
        if figure is None:
            return [(f"{self.name}-panel", {"children": empty(self.empty)})], after
        return [whole(self.name, figure, height=self.height)], after


def _numbers(row: Any) -> list[float | None]:
    """Numbers as JSON has them: what is not finite becomes null."""
    return [float(value) if abs(value) < float("inf") else None for value in row]


def _nothing(panel: Panel, after: Cursor, shows: str) -> Updated:
    after = after.having(panel.name, row=0, shows=shows, size=(0, 0))
    return [(f"{panel.name}-panel", {"children": empty(panel.empty)})], after
