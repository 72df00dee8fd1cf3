"""Overview: is it learning, and if not, what is wrong and what to change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dash_mantine_components as dmc
from dash import dcc, html

from edgeglass_dashboards.cursor import Change, Cursor, Recent, changed_sections
from edgeglass_dashboards.findings_view import finding_card, findings_table, further_findings, icon
from edgeglass_dashboards.pages.summary import announcement, progress, recall_words, result_table
from edgeglass_diag.figures.lines import Points, loss_figure, loss_points, recall_figure, recall_points
from edgeglass_diag.figures.style import TEMPLATES
from edgeglass_diag.records import Reading
from edgeglass_diag.store import Run
from edgeglass_diag.verdict import compare_loss, judge, nest

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class _Panel:
    signals: tuple[str, ...]
    figure: Callable[..., Any]
    points: Callable[..., Points]
    empty: str


_PANELS = {
    "loss": _Panel(
        ("loss/total", "loss/chance"),
        loss_figure,
        loss_points,
        "No loss yet. The curve appears with the first training step whose loss is recorded.",
    ),
    "recall": _Panel(
        ("metric/i2t/R@1", "metric/t2i/R@1", "metric/n"),
        recall_figure,
        recall_points,
        "No recall yet. It appears when the run evaluates for the first time.",
    ),
}
_SIGNALS = tuple(signal for panel in _PANELS.values() for signal in panel.signals)
_FEW = 2  # fewer readings than this are drawn as points, more as a line
_NONE_FIRED = "No findings: no rule fired."
_NO_FINDINGS = "No findings so far. A rule that fires adds its finding here, with evidence and what to change."


def layout(run: Run, path: str, scheme: str) -> Any:
    """The whole page of one run; ``scheme`` is ``light`` or ``dark``."""
    changes, cursor = changes_since(run, Cursor(path, uuid4().hex), scheme)
    content = {name: properties["children"] for name, properties in changes if "children" in properties}
    ended = run.status != "running"
    return html.Div(
        [
            dcc.Store(id="cursor", data=cursor.as_dict()),
            dcc.Interval(id="live", interval=1000, disabled=ended),
            _header(run, content, ended=ended),
            html.Section(content["headline"], id="headline", **{"aria-label": "Headline finding"}),
            dmc.SimpleGrid(
                [
                    _card("Loss against chance", "loss", content),
                    _card("Recall@1 against chance", "recall", content),
                ],
                cols={"base": 1, "md": 2},
            ),
            html.Section(content["result"], id="result"),
            html.Section(content["further"], id="further"),
            dmc.Paper(
                [dmc.Title("All findings", order=2, size="h4"), html.Div(content["table"], id="table")],
                withBorder=True,
                p="md",
                radius="md",
            ),
        ],
        className="overview",
        **{"data-token": cursor.token},
    )


def changes_since(run: Run, cursor: Cursor, scheme: str) -> tuple[list[Change], Cursor]:
    """What changed on the page since ``cursor``, and the cursor after that."""
    running = run.status == "running"  # asked first: readings that come later are left to the next poll
    fresh, after = cursor.advance(run, _SIGNALS)
    changes, seen = changed_sections(_sections(run, after.recent), cursor.seen)
    for name in _PANELS:
        changes += _draw(name, run, fresh, cursor, after, scheme)
    if not running:
        changes += [("live", {"disabled": True}), ("following", {"disabled": True, "label": "Ended"})]
    return changes, replace(after, seen=seen)


def _header(run: Run, content: dict[str, Any], *, ended: bool) -> Any:
    switch = dmc.Switch(
        id="following",
        checked=True,
        disabled=ended,
        label="Ended" if ended else "Live",
        **{"aria-label": "Update this page while the run goes on"},
    )
    return html.Header(
        [
            dmc.Group([dmc.Title(run.name, order=1, size="h3", className="run-name"), switch], justify="space-between"),
            html.Div(content["verdict"], id="verdict"),
            html.Div(content["announcement"], id="announcement", className="unseen", role="status"),
            html.Div(content["progress"], id="progress"),
        ]
    )


def _card(title: str, name: str, content: dict[str, Any]) -> Any:
    return dmc.Paper(
        [
            dmc.Title(title, order=2, size="h4"),
            html.P(content[f"{name}-words"], id=f"{name}-words", className="caption"),
            html.Div(content.get(f"{name}-panel", _empty(_PANELS[name].empty)), id=f"{name}-panel"),
        ],
        withBorder=True,
        p="md",
        radius="md",
        className="figure-card",
    )


def _sections(run: Run, recent: Recent) -> dict[str, Any]:
    """The parts of the page that are text, by id."""
    findings = run.findings
    branches = nest(findings)
    losses, chances = ([value for _, value in recent[signal]] for signal in _PANELS["loss"].signals)
    chance = chances[-1] if chances else None
    without = _NO_FINDINGS if run.status == "running" else _NONE_FIRED
    verdict = judge(findings, losses, chance, run.status)
    words = compare_loss(losses, chance)[1]
    return {
        "verdict": html.Div([icon(verdict.tone), html.Span(verdict.text)], className=f"verdict tone-{verdict.tone}"),
        "announcement": announcement(run.status, branches),
        "progress": progress(run),
        "headline": finding_card(branches[0], headline=True) if branches else None,
        "further": further_findings(branches[1:]),
        "loss-words": f"{words[0].upper()}{words[1:]}." if losses else "",
        "recall-words": recall_words(recent),
        "result": result_table(run.result),
        "table": findings_table(findings) if findings else _empty(without),
    }


def _draw(
    name: str, run: Run, fresh: dict[str, list[Reading]], before: Cursor, after: Cursor, scheme: str
) -> list[Change]:
    """A whole figure while a signal has hardly begun, later only the points to add to it."""
    panel = _PANELS[name]
    new = [signal for signal in panel.signals if fresh[signal]]
    if not new:
        return []
    if all(len(before.recent.get(signal, ())) >= _FEW for signal in new):
        added = panel.points(*(_frame(fresh[signal]) for signal in panel.signals))
        return [(name, {"extendData": [added, [0, 1, 2]]})]
    known = fresh if not before.rows else {signal: _until(run, signal, after) for signal in panel.signals}
    graph = dcc.Graph(
        id=name,
        figure=panel.figure(*(_frame(known[signal]) for signal in panel.signals), TEMPLATES[scheme]),
        config={"displaylogo": False, "responsive": True},
        style={"height": "20rem"},
    )
    return [(f"{name}-panel", {"children": graph})]


def _until(run: Run, signal: str, cursor: Cursor) -> list[Reading]:
    """The readings up to the cursor: what was written in the meantime belongs to the next poll."""
    return [reading for row, reading in run.readings(signal, site="") if row <= cursor.rows[signal]]


def _frame(readings: Iterable[Reading]) -> pd.DataFrame:
    import pandas as pd  # takes as long as all the rest of the start

    rows = [(reading.step, value) for reading in readings for value in reading.values]
    return pd.DataFrame(rows, columns=["step", "value"])


def _empty(words: str) -> Any:
    return dmc.Text(words, c="dimmed", className="empty")
