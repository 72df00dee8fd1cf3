"""All runs: which there are, how they stand, and what is wrong with each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from edgeglass_dashboards.addresses import COMPARE
from edgeglass_dashboards.context import Context
from edgeglass_dashboards.findings_view import icon
from edgeglass_dashboards.panels import Panel, empty
from edgeglass_dashboards.runs import UNREADABLE, RunSummary
from edgeglass_dashboards.tiles import sparkline
from edgeglass_dashboards.view import View
from edgeglass_diag.records import RunStatus
from edgeglass_diag.signals import Signal
from edgeglass_diag.verdict import say

_STATUSES = (*RunStatus, UNREADABLE)
_MOST = 200
_HEADS = ("run", "status", "headline", "steps", "course", "loss / chance", "R@1", "started", "took", "")


class RunsList:
    """The runs below the folder, newest first, filtered by words and status."""

    name = "runs"
    title = "Runs"
    question = "Which runs are there, and which of them need a look?"
    signals: tuple[Signal, ...] = ()

    def sections(self, context: Context) -> dict[str, Any]:
        """The filters with their counts, and the table."""
        runs = context.index.summaries()
        view = context.view
        matching = [run for run in runs if _matches(run, view.query)]
        shown = [run for run in matching if not view.status or run.status == view.status]
        return {"filters": _filters(matching, view), "runs-table": _table(shown, view, any_run=bool(runs))}

    def panels(self, context: Context) -> Sequence[Panel]:
        """None: this page is a table."""
        return ()

    def body(self, context: Context, content: dict[str, Any]) -> Any:
        """Search, filters, table."""
        search = dmc.TextInput(
            id="query",
            label="Search",
            description="Words of the name, the folder, a tag or the headline",
            value=context.view.query,
            debounce=200,
            className="search",
        )
        return dmc.Paper(
            [
                html.Div([search, html.Div(content["filters"], id="filters")], className="finder"),
                html.Div(content["runs-table"], id="runs-table"),
            ],
            withBorder=True, p="md", radius="md",
        )  # fmt: skip


def _matches(run: RunSummary, query: str) -> bool:
    text = " ".join([run.entry.label, *run.tags, run.verdict.text]).lower()
    return all(word in text for word in query.lower().split())


def _filters(runs: Sequence[RunSummary], view: View) -> Any:
    counts = Counter(run.status for run in runs)
    choices = [("", f"all {len(runs)}"), *((s, f"{s} {counts[s]}") for s in _STATUSES if counts[s] or s == view.status)]
    links = []
    for status, words in choices:
        here = {"aria-current": "true"} if status == view.status else {}
        links.append(html.Li(html.A(words, href=view.link(page="overview", status=status), **here)))
    return html.Nav(html.Ul(links), className="choices", **{"aria-label": "Status"})


def _table(runs: Sequence[RunSummary], view: View, *, any_run: bool) -> Any:
    if not runs:
        words = (
            "No run matches." if any_run else "No runs yet. A run appears here as soon as 'edgeglass-diag run' begins."
        )
        return empty(words)
    more = f", the newest {_MOST} shown" if len(runs) > _MOST else ""
    return html.Table(
        [
            html.Caption(f"{len(runs)} run{'s' if len(runs) != 1 else ''}, newest first{more}"),
            html.Thead(html.Tr([html.Th(head, scope="col") if head else html.Td() for head in _HEADS])),
            html.Tbody([_row(run, view) for run in runs[:_MOST]]),
        ],
        className="blocks runs-table",
    )


def _row(run: RunSummary, view: View) -> Any:
    loss = "" if run.loss is None else say(run.loss) + ("" if run.chance is None else f" / {say(run.chance)}")
    tags = [html.A(tag, href=view.link(page="overview", query=tag), className="tag") for tag in run.tags]
    cells = (
        html.Span([icon(run.status), run.status], className=f"badge status-{run.status}"),
        html.Span(
            [icon(run.verdict.tone), html.Span([_shortened(run.verdict.model), *_record(run)])],
            className=f"line tone-text-{run.verdict.tone}",
        ),
        "" if run.status == UNREADABLE else str(run.steps),
        "" if run.course is None else html.Div(sparkline(run.course)),
        loss,
        "" if run.recall is None else say(run.recall),
        _started(run),
        "" if run.seconds is None else _duration(run.seconds),
        _compare(run),
    )  # fmt: skip
    name = html.Th([html.A(run.entry.label, href=run.entry.address), *tags], scope="row", className="column-run")
    data = [
        html.Td(cell, className=f"column-{head.split()[0] if head else 'more'}", **{"data-label": head})
        for head, cell in zip(_HEADS[1:], cells, strict=True)
    ]
    return html.Tr([name, *data])


def _compare(run: RunSummary) -> Any:
    if run.status == UNREADABLE:
        return ""
    label = {"aria-label": f"Compare {run.entry.label}"}
    return html.A("Compare", href=COMPARE + View(runs=(run.entry.path,)).link(), **label)


def _started(run: RunSummary) -> str:
    known = run.created and run.status != UNREADABLE
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(run.created)) if known else ""


def _record(run: RunSummary) -> list[Any]:
    """What was not recorded of a run, in a line of its own: the verdict on the model does not push it away."""
    words = run.verdict.record
    return [html.Span(_shortened(words), className="verdict-record")] if words else []


def _shortened(text: str, longest: int = 160) -> str:
    return text if len(text) <= longest else text[: longest - 1].rsplit(" ", 1)[0] + " …"


def _duration(seconds: float) -> str:
    """A duration in its two largest units.

    >>> _duration(7), _duration(125), _duration(7300)
    ('7 s', '2 min 5 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


PAGE = RunsList()
