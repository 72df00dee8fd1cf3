"""Explain: which change cures, by replays of the program that differ in one thing."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from edgeglass_dashboards.addresses import run_address
from edgeglass_dashboards.command_line import command_line
from edgeglass_dashboards.compact_html import plain
from edgeglass_dashboards.context import Context
from edgeglass_dashboards.explanations import Shown, explanation_of
from edgeglass_dashboards.findings_view import icon
from edgeglass_dashboards.pages.explain_choices import explanation_choices
from edgeglass_dashboards.pages.explain_map import map_tables, map_words
from edgeglass_dashboards.panels import Panel, StillPanel, empty, slot
from edgeglass_dashboards.tables import table
from edgeglass_diag.explained.curves import multiples
from edgeglass_diag.explained.map_tiles import map_figure
from edgeglass_diag.explained.record import KeptExplanation, Marked, Tried
from edgeglass_diag.explained.tree import Branch, search_trees
from edgeglass_diag.figures.trials import MOST, trials_figure
from edgeglass_diag.marks import Mark
from edgeglass_diag.records import Severity
from edgeglass_diag.render.explanation import (
    MARK_COLUMNS,
    TRIAL_COLUMNS,
    TRIED_COLUMNS,
    mark_cells,
    notes,
    trial_cells,
    tried_cells,
)
from edgeglass_diag.signals import Signal

_NO_CURVES = "No losses to draw: the runs of the replays are not in the folder of the explanation, or recorded none."
_TONES = {Mark.CONFIRMED: "critical", Mark.REFUTED: "good", Mark.NOT_ASKED: "neutral"}
_PARTS = (
    "explanations",
    "map-words",
    "map-tables",
    "begun-without",
    "causes",
    "marks",
    "curves-words",
    "search",
    "trials",
    "not-causes",
    "again",
)


class Explain:
    """The verdict, causes with their counts and lines, marks of the findings, all replays and their losses."""

    name = "explain"
    title = "Explain"
    question = "What is the cause, and which change cures it?"
    signals: tuple[Signal, ...] = ()

    def unavailable(self, context: Context) -> str:
        """What the tab says where there is no explanation; empty where there is one."""
        shown = explanation_of(context.run, context.root, context.view.explanation)
        return "" if shown.explanation or shown.problem else f"Not explained yet: {_command(context)}"

    def sections(self, context: Context) -> dict[str, Any]:
        """All words of the page."""
        shown = explanation_of(context.run, context.root, context.view.explanation)
        explanation = shown.explanation
        if explanation is None:
            return {"explained": _none(context, shown), **dict.fromkeys(_PARTS)}
        return {
            "explained": html.Div([icon("info"), html.Div(explanation.verdict)], className="verdict tone-info"),
            "explanations": explanation_choices(context),
            "map-words": map_words(explanation),
            "map-tables": map_tables(explanation),
            "causes": _causes(explanation),
            "marks": _marks(explanation.findings),
            "begun-without": _left_out(explanation.left_out),
            "curves-words": _curves_words(context, len(explanation.groups()), unchanged=bool(explanation.unchanged)),
            "search": _search(explanation),
            "again": command_line(_again(context, shown), "command"),
            "trials": _trials(explanation, shown),
            "not-causes": _not_causes(explanation.not_causes),
        }

    def panels(self, context: Context) -> Sequence[Panel]:
        """The map, where there is one, and the losses of the replays."""
        return (self._map(context), self._curves(context))

    def body(self, context: Context, content: dict[str, Any]) -> Any:
        """The verdict, then what it rests on; the command that explains where nothing is explained."""
        verdict = html.Section(content["explained"], id="explained", **{"aria-label": "Verdict"})
        if content["trials"] is None:
            hidden = [html.Div(id=part, hidden=True) for part in (*_PARTS, "map-panel", "curves-panel")]
            return html.Div([verdict, *hidden], className="stack")
        scrolled = {"tabIndex": "0", "role": "region", "aria-label": "Losses of the replays"}
        curves = html.Div(slot(self._curves(context), content), id="curves-panel", className="wide-figure", **scrolled)
        drawn = html.Div(
            slot(self._map(context), content),
            id="map-panel",
            className="wide-figure",
            **scrolled | {"aria-label": "Map"},
        )
        is_map = content["map-words"] is not None
        return html.Div(
            [
                html.Div(content["explanations"], id="explanations"),
                verdict,
                html.Div(content["begun-without"], id="begun-without"),
                _card(
                    "Map",
                    html.Div(content["map-words"], id="map-words"),
                    drawn,
                    html.Div(content["map-tables"], id="map-tables"),
                    hidden=not is_map,
                ),
                _card("Causes", html.Div(content["causes"], id="causes"), hidden=is_map),
                _card("Findings of the run", html.Div(content["marks"], id="marks"), hidden=is_map),
                _card("Losses side by side", html.Div(content["curves-words"], id="curves-words"), curves),
                html.Div(content["search"], id="search"),
                _card("All replays", html.Div(content["trials"], id="trials")),
                html.Div(content["not-causes"], id="not-causes"),
                _card("Explain it again", html.Div(content["again"], id="again")),
            ],
            className="stack",
        )

    @staticmethod
    def _map(context: Context) -> StillPanel:
        shown = explanation_of(context.run, context.root, context.view.explanation)
        found = None if shown.explanation is None else shown.explanation.phase_map

        def make(template: Any) -> Any:
            return None if found is None else map_figure(found, template)

        return StillPanel("map", [str(shown.folder), *shown.state], make, "No map was made.")

    @staticmethod
    def _curves(context: Context) -> StillPanel:
        shown = explanation_of(context.run, context.root, context.view.explanation)

        def make(template: Any) -> Any:
            if shown.explanation is None or shown.folder is None:
                return None
            drawn, relative = multiples(shown.explanation, shown.folder, shown.open)
            first = _first(context, len(drawn))
            return trials_figure(drawn[first:], template, relative=relative) if drawn else None

        return StillPanel("curves", [str(shown.folder), *shown.state, context.view.step], make, _NO_CURVES)


def _card(title: str, *content: Any, hidden: bool = False) -> Any:
    parts = [dmc.Title(title, order=2, size="h4"), *content]
    card = dmc.Paper(parts, withBorder=True, p="md", radius="md", className="figure-card")
    return html.Div(card, hidden=True) if hidden else card


def _command(context: Context) -> str:
    return f"edgeglass-diag explain {shlex.quote(str(context.run.folder))}"


def _again(context: Context, shown: Shown) -> str:
    """The command that made the explanation; of its run the folder that is shown, wherever it has come to lie."""
    explanation = shown.explanation
    if explanation is None or not explanation.again:
        return _command(context)
    words = list(explanation.again)
    if explanation.run is not None and context.run.explained.folder is not None:
        words[0] = str(context.run.folder)
    return f"edgeglass-diag explain {shlex.join(words)}"


def _none(context: Context, shown: Shown) -> Any:
    if shown.problem:
        words = f"{shown.problem}."
        return html.Div([icon("warning"), html.Div(words)], className="answer tone-warning")
    ill = any(finding.severity.rank >= Severity.WARNING.rank for finding in context.run.findings)
    more = "Replays of its program tell which change cures it: " if ill else "No fault was found in it; for later: "
    words = f"This run is not explained yet. {more}"
    way = [words, command_line(_command(context), "command")]
    return html.Div([icon("neutral"), html.Div(way)], className="answer tone-neutral")


def _first(context: Context, changes: int) -> int:
    """The first change of which the losses are drawn: the address's ``step``, in whole figures."""
    return min(context.view.step or 0, max(0, changes - 1)) // MOST * MOST


def _curves_words(context: Context, changes: int, *, unchanged: bool) -> Any:
    words = html.P(
        "Loss by optimizer step, one thin line per seed: solid where it learns, dashed where it does not. "
        + ("Grey: the replays in which nothing was changed, which are the first picture. " if unchanged else "")
        + "Dotted: chance.",
        className="caption",
    )
    if changes <= MOST:
        return words
    first = _first(context, changes)
    links = []
    for begin in range(0, changes, MOST):
        here = {"aria-current": "true"} if begin == first else {}
        href = context.view.link(step=begin or None)
        links.append(html.Li(html.A(f"{begin + 1} to {min(changes, begin + MOST)}", href=href, **here)))
    pages = html.Nav(html.Ul(links), className="choices", **{"aria-label": "Changes that are drawn"})
    return [words, html.P(f"{changes} changes were tried:", className="caption"), pages]


def _left_out(paths: Sequence[str]) -> Any:
    """What the replays began without, all of it."""
    if not paths:
        return None
    count = f"{len(paths)} path{'s' if len(paths) != 1 else ''} that the run had made"
    words = [html.Strong("Replays begin as the run did: "), f"without {count}."]
    items = html.Ul([html.Li(html.Code(path)) for path in paths])
    listed = html.Details([html.Summary("Which"), items], **{"data-finding": "left out"})
    return html.Div([icon("info"), html.Div([*words, listed])], className="answer tone-info")


def _search(explanation: KeptExplanation) -> Any:
    """The sets of changes that were tried, each below the set that it was made of."""
    trees = search_trees(explanation)
    if not trees:
        return None
    words = html.P(
        "Changes that were tried together, and below each set the smaller ones that were tried of it: the smallest "
        "that still does what the whole does is the cause.",
        className="caption",
    )
    return _card("How the cause was narrowed down", words, html.Ul([_branch(tree) for tree in trees], className="tree"))


def _branch(branch: Branch) -> Any:
    learns = 2 * branch.learning > branch.resolved
    tone = "neutral" if not branch.resolved else "good" if learns else "warning"
    said = f"{branch.learning}/{branch.resolved} learn" if branch.resolved else "no result"
    names = ", ".join(sorted(branch.changes))
    place = branch.label.partition(" with ")[0] + " with " if " with " in branch.label else ""
    row = [html.Span([icon(tone), said], className=f"badge tone-{tone}"), f" {place}", html.Code(names)]
    below = [html.Ul([_branch(each) for each in branch.smaller])] if branch.smaller else []
    return html.Li([*row, *below])


def _causes(explanation: KeptExplanation) -> Any:
    if not explanation.causes:
        return empty("No change was shown to be the cause.")
    return plain(table(TRIED_COLUMNS, [tried_cells(each) for each in explanation.causes], "causes-table"))


def _not_causes(tried: Sequence[Tried]) -> Any:
    if not tried:
        return None
    rows = table(TRIED_COLUMNS, [tried_cells(each) for each in tried], "not-causes-table")
    count = "1 change tried that is no cause" if len(tried) == 1 else f"{len(tried)} changes tried that are no cause"
    return plain(html.Details([html.Summary(count), rows], **{"data-finding": "not causes"}))


def _marks(findings: Sequence[Marked]) -> Any:
    if not findings:
        return empty("No finding of the run was put to the test.")
    rows = [
        [code, html.Code(place) if each.site else place, mark_badge(each.mark), by]
        for each in findings
        for code, place, _, by in [mark_cells(each)]
    ]
    return plain(table(MARK_COLUMNS, rows, "marks-table"))


def mark_badge(mark: Mark) -> Any:
    """What the replays have shown of a finding, as a sign and a word."""
    return html.Span([icon(_TONES[mark]), str(mark)], className=f"badge tone-{_TONES[mark]}")


def _trials(explanation: KeptExplanation, shown: Shown) -> Any:
    rows = []
    for trial in explanation.trials:
        label, *cells = trial_cells(trial, explanation)
        path = shown.path(trial)
        tone = "neutral" if not trial.is_resolved else "warning" if trial.ill else "good"
        cells[3] = html.Span([icon(tone), cells[3]], className=f"badge tone-{tone}")
        rows.append([label if path is None else html.A(label, href=run_address(path)), *cells])
    words = html.P(" ".join(notes(explanation.model_copy(update={"left_out": ()}))), className="caption")
    return plain([words, table(TRIAL_COLUMNS, rows, "trials-table")])


PAGE = Explain()
