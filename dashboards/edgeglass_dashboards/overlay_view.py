"""The overlay on a page: what chooses the lines, the figure, the table that names them, and the CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from edgeglass_dashboards.addresses import csv_address
from edgeglass_dashboards.context import Context
from edgeglass_dashboards.cursor import Cursor, digest
from edgeglass_dashboards.overlaid import Overlaid, Source, chosen_signals, overlaid, sites_by_signal
from edgeglass_dashboards.panels import Updated, empty, told
from edgeglass_dashboards.runs import UNREADABLE, RunEntry, reading
from edgeglass_diag.figures.overlay import COLORS, DASHES, TRACES, Line, axis_of, overlay_figure, tail
from edgeglass_diag.figures.style import TEMPLATES
from edgeglass_diag.store import Run
from edgeglass_diag.verdict import say

Runs = Mapping[str, Source]
Opening = Callable[[Context], AbstractContextManager[Runs]]
"""Opens the runs of a page, by what they are called on it."""

EMPTY = "Nothing to draw: choose signals above, of which a run has readings."
_MOST_POINTS = 400_000


@contextmanager
def opened(context: Context, entries: list[RunEntry]) -> Iterator[dict[str, Run]]:
    """Open those of the runs that can be read, by their paths."""
    with ExitStack() as stack:
        found = {}
        for entry in entries:
            if context.index.summary(entry).status != UNREADABLE:
                found[entry.path] = stack.enter_context(reading(context.root, entry.path))
        yield found


def labels_of(paths: list[str]) -> dict[str, str]:
    """Return the shortest ends of the paths that tell the runs apart.

    >>> labels_of(["a/x", "b/x"]), labels_of(["a/x", "a/y"])
    ({'a/x': 'a/x', 'b/x': 'b/x'}, {'a/x': 'x', 'a/y': 'y'})
    """
    last = [path.rpartition("/")[2] for path in paths]
    return {path: name if last.count(name) == 1 else path for path, name in zip(paths, last, strict=True)}


@dataclass(frozen=True)
class OverlayPanel:
    """The lines that the address asks for; new readings are added to what is drawn."""

    open: Opening
    mark: Callable[[Context], tuple[int, str] | None] = lambda _: None
    name: str = "overlay"
    empty: str = EMPTY

    def update(self, context: Context, before: Cursor, after: Cursor) -> Updated:
        """The figure where something else is asked for, else the points of new steps."""
        with self.open(context) as runs:
            asked, state = digest(_asked(context)), digest([[name, run.windows] for name, run in runs.items()])
            keys = {f"{self.name}-asked": asked, f"{self.name}-state": state}
            is_same = before.seen.get(f"{self.name}-asked") == asked
            if is_same and (context.hold or before.seen.get(f"{self.name}-state") == state):
                return [], after
            found = overlaid(context.view, runs)
        after = replace(after, seen={**after.seen, **keys})
        shows = digest([_asked(context), [line.name for line in found.lines]])
        if not found.lines:
            after = after.having(self.name, row=0, shows=shows, size=(0, 0))
            return [(f"{self.name}-panel", {"children": empty(self.empty)})], after
        steps = {f"{self.name}:{line.run}:{line.name}": line.whole.step + 1 for line in found.lines}
        drawn = sum(len(line.steps) for line in found.lines)
        if before.knows(self.name, shows) and before.drawn[self.name][0] < max(_MOST_POINTS, 2 * drawn):
            known = {key: before.rows.get(key, 0) for key in steps}
            added = tail(
                found.lines, lambda line: known[f"{self.name}:{line.run}:{line.name}"] - 1, log=context.view.log
            )
            size = (before.drawn[self.name][0] + sum(len(x) for x in added["x"]), len(found.lines))
            traces = list(range(TRACES * len(found.lines)))
            after = replace(after, rows={**after.rows, **steps}).having(self.name, row=0, shows=shows, size=size)
            return [(self.name, {"extendData": [added, traces]})], after
        figure = overlay_figure(
            found.lines, TEMPLATES[context.scheme], log=context.view.log, span=context.view.span,
            mark=self.mark(context),
        )  # fmt: skip
        after = replace(after, rows={**after.rows, **steps}).having(
            self.name, row=0, shows=shows, size=(drawn, len(found.lines))
        )
        return [(f"{self.name}-panel", {"children": _graph(self.name, figure)})], after


@dataclass(frozen=True)
class OverlayControls:
    """Keeps what chooses the lines as the address has it, also after a step back in the browser."""

    open: Opening
    name: str = "overlay-controls"
    empty: str = ""

    def update(self, context: Context, before: Cursor, after: Cursor) -> Updated:
        """The values and the choices that differ from those on the screen."""
        with self.open(context) as runs:
            made = {"shown": _signals(context, runs), "shown-sites": _sites(context, runs), **_switches(context)}
        changes: list[Any] = []
        seen = dict(after.seen)
        for name, properties in made.items():
            key = f"{self.name}:{name}"
            seen[key] = digest(properties)
            if before.seen.get(key) not in (None, seen[key]):
                changes.append((name, properties))
        return changes, replace(after, seen=seen)


def _asked(context: Context) -> list[Any]:
    view = context.view
    return [view.show, view.sites, view.runs, view.smooth, view.log, view.ranks, view.span]


def _graph(name: str, figure: Any) -> Any:
    height = figure.layout.height
    figure.layout.height = None
    config = {"displayModeBar": False, "responsive": True, "doubleClick": "autosize", "showTips": False}
    return told(dcc.Graph(id=name, figure=figure, config=config, style={"height": f"{height}px"}))


def _signals(context: Context, runs: Runs) -> dict[str, Any]:
    known = sorted({signal for run in runs.values() for signal in run.signals})
    groups: dict[str, list[Any]] = {}
    for signal in known:
        groups.setdefault(signal.family, []).append({"value": str(signal), "label": str(signal)})
    data = [{"group": family, "items": items} for family, items in groups.items()]
    return {"data": data, "value": [str(signal) for signal in chosen_signals(context.view, runs)]}


def _sites(context: Context, runs: Runs) -> dict[str, Any]:
    found = sites_by_signal(runs, chosen_signals(context.view, runs)).values()
    known = list(dict.fromkeys(site for sites in found for site in sites if site))
    return {"data": known, "value": [site for site in context.view.sites if site in known], "disabled": not known}


def _switches(context: Context) -> dict[str, dict[str, Any]]:
    view = context.view
    switches: dict[str, dict[str, Any]] = {"smooth": {"value": view.smooth}, "log": {"checked": view.log}}
    if context.opened is not None and len(context.run.ranks) > 1:
        switches["ranks"] = {"checked": view.ranks}
    return switches


def controls(context: Context, runs: Runs, *more: Any) -> Any:
    """What chooses signals, sites, smoothing and the axis, and ``more`` behind the sites."""
    switches = _switches(context)
    signals = dmc.MultiSelect(
        id="shown", label="Signals", searchable=True, maxValues=24, hidePickedOptions=True, limit=200,
        nothingFoundMessage="no such signal was recorded", **_signals(context, runs),
    )  # fmt: skip
    sites = dmc.MultiSelect(
        id="shown-sites", label="Sites", searchable=True, maxValues=24, hidePickedOptions=True, limit=200,
        placeholder="all: lowest, median, highest", nothingFoundMessage="no site of that name",
        **_sites(context, runs),
    )  # fmt: skip
    smoothing = [
        html.Label("Smoothing", htmlFor="smooth", className="control-label"),
        dmc.Slider(
            id="smooth", min=0, max=99, step=1, size="sm", thumbLabel="Smoothing", persistence=False,
            **switches["smooth"],
        ),
    ]  # fmt: skip
    by_rank = []
    if "ranks" in switches:
        by_rank = [dmc.Switch(id="ranks", label="By rank", persistence=False, **switches["ranks"])]
    return html.Div(
        [
            *(html.Div(part, className="search") for part in (signals, sites, *more)),
            html.Div(smoothing, className="smoothing"),
            dmc.Switch(id="log", label="Log axis", persistence=False, **switches["log"]),
            *by_rank,
        ],
        className="finder overlay-controls",
    )


def overlay_sections(context: Context, open_runs: Opening) -> dict[str, Any]:
    """The words about the lines, and the table that names them."""
    with open_runs(context) as runs:
        found = overlaid(context.view, runs)
    return {
        "overlay-words": _words(context, found),
        "lines": _table(found) if found.lines else None,
    }


def _words(context: Context, found: Overlaid) -> Any:
    view = context.view
    said: list[Any] = [f"{len(found.lines)} line{'s' if len(found.lines) != 1 else ''}"]
    if found.left_out:
        said.append(f", {found.left_out} more are left out (choose fewer sites or runs)")
    hidden = sum(int((~_above_zero(line)).sum()) for line in found.lines) if view.log else 0
    if hidden:
        said.append(f"; marks at the lower edge: {hidden} drawn readings are 0 or less, which a log axis lacks")
    if view.smooth:
        said.append(f"; bold: moving average of weight {view.smooth / 100:.2f} (debiased), faint: as measured")
    said.append(". ")
    if view.span:
        said += [f"Steps {view.span[0]} to {view.span[1]}: ", html.A("all steps", href=view.link(span=None)), ". "]
    else:
        said.append("Drag over the figure to look at a span of steps. ")
    link = html.A("CSV of what is drawn", href=csv_address(_path(context), view), target="_self", id="csv")
    return html.P([*said, link], className="caption")


def _above_zero(line: Line) -> Any:
    return ~(line.values <= 0)


def _path(context: Context) -> str | None:
    return None if context.opened is None else context.run.folder.relative_to(context.root).as_posix()


def _table(found: Overlaid) -> Any:
    columns = ("line", "unit", "newest", "at step", "lowest", "highest", "not finite", "readings", "drawn")
    head = html.Thead(html.Tr([html.Th(column, scope="col") for column in columns]))
    rows = []
    for line in found.lines:
        whole = line.whole
        lost = [f"{whole.nans} NaN"] * bool(whole.nans) + [f"{whole.infinities} infinite"] * bool(whole.infinities)
        axis = axis_of(line.signal)
        cells = (
            axis.title, say(whole.last), str(whole.step), say(whole.low), say(whole.high), ", ".join(lost) or "0",
            f"{whole.readings:,}", f"{len(line.steps):,}",
        )  # fmt: skip
        named = zip(columns[1:], cells, strict=True)
        title = [swatch(line), html.Span(line.name, title=line.signal.sentence)]
        rows.append(
            html.Tr([html.Th(title, scope="row"), *(html.Td(cell, **{"data-label": name}) for name, cell in named)])
        )
    caption = html.Caption("What each line is, over all recorded steps", className="unseen")
    table = html.Table([caption, head, html.Tbody(rows)], className="numbers blocks lines-table")
    return html.Div(table, className="scrolled", tabIndex="0", role="region", **{"aria-label": "Lines"})


def swatch(line: Line) -> Any:
    """A short piece of the line as it is drawn."""
    name = f"swatch color-{line.color % len(COLORS)} dash-{DASHES[line.dash % len(DASHES)]}"
    return html.Span(className=name, **{"aria-hidden": "true"})
