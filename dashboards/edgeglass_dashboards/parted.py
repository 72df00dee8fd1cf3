"""The signals in which compared runs part, by site: computed in the background, the first of them in a table."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from dash import html

from edgeglass_dashboards.context import Context
from edgeglass_dashboards.panels import empty
from edgeglass_dashboards.runs import reading
from edgeglass_diag.partings import Parting, Partings, partings
from edgeglass_diag.records import RunStatus, UsageError
from edgeglass_diag.store import Run
from edgeglass_diag.verdict import say

_SHOWN = 40
_COMPARING = "Every signal is being compared at every site; what parts appears here by itself."


def parted(context: Context, runs: Mapping[str, Run]) -> Partings | str | None:
    """Return where runs part, or why that cannot be told; None while it is being computed."""

    def make() -> Partings | str:
        with ExitStack() as stack:
            try:
                return partings([stack.enter_context(reading(context.root, path)) for path in runs])
            except UsageError as error:
                return str(error)

    found: Partings | str | None = context.index.jobs.get(_key(runs), make)
    return found


def first_to_part(context: Context, runs: Mapping[str, Run], labels: Mapping[str, str]) -> Any:
    """Return the table of what parts first, each row a link that overlays it; words while it is being computed."""
    made = parted(context, runs)
    if made is None:
        return empty(_COMPARING)
    if isinstance(made, str):
        return empty(f"{made}.")
    if not made.compared:
        return empty("They have no signal in common at the same site and step.")
    if not made.found:
        return empty(f"Nothing: {made.compared} signals at sites are equal at every step that all recorded.")
    return [html.P(_words(made), className="caption"), _table(context, made, list(runs), labels)]


def _key(runs: Mapping[str, Run]) -> tuple[Any, ...]:
    """What changes when there is something new to compare; of a run that goes on each doubling of its length."""
    return ("partings", *((path, _length(run)) for path, run in runs.items()))


def _length(run: Run) -> int:
    return run.windows.bit_length() if run.status == RunStatus.RUNNING else run.windows


def _words(made: Partings) -> str:
    first = made.found[0]
    place = f" at {first.site}" if first.site else ""
    equal = f"; {made.equal} are equal at every step" if made.equal else ""
    return (
        f"First {first.signal}{place}, at step {first.differs}. Of {made.compared} signals at sites that all runs "
        f"recorded, {len(made.found)} differ{equal}. Rows of one step are in the order in which it "
        "gives rise to them: data, modules, losses, gradients, updates."
    )


def _table(context: Context, made: Partings, paths: list[str], labels: Mapping[str, str]) -> Any:
    columns = ("signal", "site", "differs from step", *(labels[path] for path in paths), "twice as large from step")
    rows = [_row(context, parting, paths, columns) for parting in made.found[:_SHOWN]]
    head = html.Thead(html.Tr([html.Th(column, scope="col") for column in columns]))
    parts = [html.Table([head, html.Tbody(rows)], className="numbers blocks")]
    if len(made.found) > _SHOWN:
        parts.append(html.P(f"and {len(made.found) - _SHOWN} more, which part later.", className="caption"))
    return html.Div(parts, className="scrolled", tabIndex="0", role="region", **{"aria-label": "What parts first"})


def _row(context: Context, parting: Parting, paths: list[str], columns: tuple[str, ...]) -> Any:
    sites = (parting.site,) if parting.site else ()
    link = context.view.link(runs=tuple(paths), show=(str(parting.signal),), sites=sites, span=None)
    apart = "never" if parting.apart is None else str(parting.apart)
    site = html.Code(parting.site) if parting.site else "whole run"
    cells = (site, str(parting.differs), *map(say, parting.values), apart)
    named = zip(columns[1:], cells, strict=True)
    first = html.Th(html.A(str(parting.signal), href=link, title=parting.signal.sentence), scope="row")
    return html.Tr([first, *(html.Td(cell, **{"data-label": name}) for name, cell in named)])
