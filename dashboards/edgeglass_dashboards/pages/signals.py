"""All signals: any of them at any site, of this run and of others, over one axis of steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dash_mantine_components as dmc
from dash import html

from edgeglass_dashboards.by_rank import RankSpread
from edgeglass_dashboards.context import Context
from edgeglass_dashboards.overlaid import Source
from edgeglass_dashboards.overlay_view import (
    OverlayControls,
    OverlayPanel,
    controls,
    labels_of,
    opened,
    overlay_sections,
)
from edgeglass_dashboards.panels import Panel, slot
from edgeglass_dashboards.runs import RunEntry
from edgeglass_diag.figures.rank_spread import EACH
from edgeglass_diag.signals import Signal


class Signals:
    """An overlay of the run's signals, with those of other runs beside them."""

    name = "signals"
    title = "All signals"
    question = "How did any signal go, at any site and beside other runs?"
    signals: tuple[Signal, ...] = ()

    def sections(self, context: Context) -> dict[str, Any]:
        """The words about the lines and their table."""
        return overlay_sections(context, runs_beside)

    def panels(self, context: Context) -> Sequence[Panel]:
        """What chooses, and the figure."""
        del context
        return (OverlayControls(runs_beside), OverlayPanel(runs_beside))

    def body(self, context: Context, content: dict[str, Any]) -> Any:
        """What chooses above the figure, the table below."""
        own = _own_path(context)
        others = [entry for entry in context.index.entries() if not entry.problem and entry.path != own]
        beside = dmc.MultiSelect(
            id="compared",
            label="Beside",
            placeholder="other runs",
            data=[{"value": entry.path, "label": entry.label} for entry in others],
            value=[path for path in context.view.runs if path != own],
            searchable=True,
            maxValues=5,
            limit=200,
            nothingFoundMessage="no run of that name",
        )
        with runs_beside(context) as runs:
            return overlay_card(content, controls(context, runs, *([beside] if others else [])))


def overlay_card(content: dict[str, Any], *choice: Any) -> Any:
    """The overlay as it stands on a page."""
    figure = html.Div(slot(OverlayPanel(runs_beside), content), id="overlay-panel")
    parts = [
        *choice,
        html.Div(content["overlay-words"], id="overlay-words"),
        figure,
        html.Div(content["lines"], id="lines"),
    ]
    return dmc.Paper(parts, withBorder=True, p="md", radius="md", className="figure-card overlay-card")


@contextmanager
def runs_beside(context: Context) -> Iterator[dict[str, Source]]:
    """Open the page's run and those that the address sets beside it, by their labels."""
    own = _own_path(context)
    known = {entry.path: entry for entry in context.index.entries()} if context.view.runs else {}
    others: list[RunEntry] = [known[path] for path in context.view.runs if path in known and path != own]
    labels = labels_of([own, *(entry.path for entry in others)])
    with opened(context, others) as runs:
        yield _own(context, labels[own]) | {labels[path]: run for path, run in runs.items()}


def _own(context: Context, label: str) -> dict[str, Source]:
    """The page's run: its processes one by one or as their spread where the address asks for them."""
    ranks = context.run.ranks if context.view.ranks else {}
    if len(ranks) <= 1:
        return {label: context.run}
    if len(ranks) > EACH:
        return {label: RankSpread(ranks)}
    return {f"{label} rank {rank}" if context.view.runs else f"rank {rank}": run for rank, run in ranks.items()}


def _own_path(context: Context) -> str:
    return context.run.folder.relative_to(context.root).as_posix()


PAGE = Signals()
