"""Compare: two to six runs over one another, the first signal in which they part, and what they differ in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dash_mantine_components as dmc
from dash import html

from edgeglass_dashboards.context import Context
from edgeglass_dashboards.finding_links import link_to
from edgeglass_dashboards.findings_view import icon, severity_badge
from edgeglass_dashboards.kept import Kept, state_of_run
from edgeglass_dashboards.overlay_view import (
    OverlayControls,
    OverlayPanel,
    controls,
    labels_of,
    opened,
    overlay_sections,
)
from edgeglass_dashboards.pages.signals import overlay_card
from edgeglass_dashboards.panels import Panel, empty
from edgeglass_dashboards.parted import first_to_part, parted
from edgeglass_dashboards.runs import UNREADABLE, RunEntry
from edgeglass_diag.comparison import compare_runs, first_divergence
from edgeglass_diag.records import RunStatus
from edgeglass_diag.replaying.arguments import options_of
from edgeglass_diag.settings import differing, flatten, same
from edgeglass_diag.signals import Signal
from edgeglass_diag.store import Run
from edgeglass_diag.verdict import say

_MOST = 6
_IGNORED = ("name", "description")
_TABLES = ("parting", "partings", "sides", "compared-findings", "settings")


_KEPT: Kept[dict[str, Any]] = Kept(8)
"""The tables of runs that were compared."""


class Compare:
    """The overlay of the chosen runs, what parts first by site, results, findings and settings."""

    name = "compare"
    title = "Compare runs"
    question = "Where do the runs part, and what do they differ in?"
    signals: tuple[Signal, ...] = ()

    def sections(self, context: Context) -> dict[str, Any]:
        """The first divergence in words, and the tables."""
        overlay = overlay_sections(context, compared_runs) | {"unreadable": _unreadable(context)}
        with opened(context, chosen(context)) as runs:
            labels = labels_of(list(runs))
            if len(runs) < 2:
                words = "Choose at least two runs." if len(runs) else _no_runs(context)
                nothing = dict.fromkeys(_TABLES, empty("Two runs are needed."))
                return nothing | {"parting": empty(words)} | overlay
            key = tuple((path, state_of_run(run)) for path, run in runs.items())
            tables = _KEPT.get(key, lambda: _tables(runs, labels))
            return overlay | tables | {"partings": first_to_part(context, runs, labels)}

    def ended(self, context: Context) -> bool:
        """Whether each run that the address names has ended, and it is known what parts."""
        entries = chosen(context)
        if not context.view.runs or len(entries) < len(context.view.runs):
            return False
        if {context.index.summary(entry).status for entry in entries} & {RunStatus.RUNNING, UNREADABLE}:
            return False
        with opened(context, entries) as runs:
            return len(runs) < 2 or parted(context, runs) is not None

    def panels(self, context: Context) -> Sequence[Panel]:
        """What chooses, and the figure."""
        del context
        return (OverlayControls(compared_runs), OverlayPanel(compared_runs, _mark))

    def body(self, context: Context, content: dict[str, Any]) -> Any:
        """The choice of runs, the divergence, the overlay, the tables."""
        entries = context.index.entries()
        choice = dmc.MultiSelect(
            id="compared",
            label="Runs",
            description="Two to six",
            data=[{"value": entry.path, "label": entry.label} for entry in entries],
            value=[entry.path for entry in chosen(context)],
            searchable=True,
            maxValues=_MOST,
            nothingFoundMessage="no run of that name",
            className="search",
        )
        with compared_runs(context) as runs:
            chooses = controls(context, runs)
        cards = [
            _card(None, choice, html.Div(content["unreadable"], id="unreadable"),
                  html.Div(content["parting"], id="parting")),
            overlay_card(content, chooses),
            _card("What parts first, by site", html.Div(content["partings"], id="partings")),
            _card("Settings", html.Div(content["settings"], id="settings")),
            _card("Results", html.Div(content["sides"], id="sides")),
            _card("Findings", html.Div(content["compared-findings"], id="compared-findings")),
        ]  # fmt: skip
        return html.Div(cards, className="stack")


def _tables(runs: Mapping[str, Run], labels: dict[str, str]) -> dict[str, Any]:
    """What is read of the runs as a whole, whichever signals are drawn."""
    opened_runs, paths = list(runs.values()), list(runs)
    compared = compare_runs(opened_runs, list(labels.values()))
    return {
        "parting": _parting(compared["first_divergence"], labels),
        "sides": _sides(compared["runs"], paths, labels),
        "compared-findings": _findings(opened_runs, paths, labels),
        "settings": _settings(opened_runs, labels),
    }


def _card(title: str | None, *parts: Any) -> Any:
    head = [dmc.Title(title, order=2, size="h4")] if title else []
    return dmc.Paper([*head, *parts], withBorder=True, p="md", radius="md", className="figure-card")


@contextmanager
def compared_runs(context: Context) -> Iterator[dict[str, Run]]:
    """Open the runs that are compared, by their labels."""
    with opened(context, chosen(context)) as runs:
        labels = labels_of(list(runs))
        yield {labels[path]: run for path, run in runs.items()}


def _mark(context: Context) -> tuple[int, str] | None:
    """The step at which the losses part."""
    with compared_runs(context) as runs:
        parts = first_divergence(list(runs.values())) if len(runs) > 1 else None
    return None if parts is None else (int(parts["step"]), "losses part")


def chosen(context: Context) -> list[RunEntry]:
    """The runs that the address names; where it names none the two newest that share a folder, or the two newest."""
    entries = context.index.entries()
    if context.view.runs:
        known = {entry.path: entry for entry in entries}
        return [known[path] for path in context.view.runs if path in known]
    entries = [entry for entry in entries if not entry.problem]
    if not entries:
        return []
    folder = entries[0].path.rpartition("/")[0]
    siblings = [entry for entry in entries if entry.path.rpartition("/")[0] == folder]
    return (siblings if len(siblings) > 1 else entries)[:2]


def _no_runs(context: Context) -> str:
    return "None of these runs is in the folder." if context.view.runs else "No runs yet: there is nothing to compare."


def _unreadable(context: Context) -> Any:
    """The chosen runs that are left out, each with the reason."""
    summaries = [context.index.summary(entry) for entry in chosen(context)]
    left_out = [summary for summary in summaries if summary.status == UNREADABLE]
    return [html.P([html.Strong(f"{run.entry.label}: "), run.verdict.text], className="caption") for run in left_out]


def _parting(divergence: dict[str, Any] | None, labels: dict[str, str]) -> Any:
    if divergence is None:
        return html.P(
            f"The losses of {' and '.join(labels.values())} never lie more than 0.05 of chance apart.", className="lead"
        )
    values = ", ".join(f"{name} {say(value)}" for name, value in divergence["loss_over_chance"].items())
    return html.P(
        [html.Strong(f"They part at step {divergence['step']}"), f": loss over chance {values}."], className="lead"
    )


def _sides(rows: Sequence[dict[str, Any]], paths: Sequence[str], labels: dict[str, str]) -> Any:
    def recall(row: dict[str, Any], way: str) -> str:
        return _said((row.get(way) or {}).get("R@1"))

    facts = (
        ("status", lambda r: html.Span([icon(r["status"]), r["status"]], className=f"badge status-{r['status']}")),
        ("steps", lambda r: str(r["steps"])),
        ("training loss", lambda r: _said(r.get("train_loss"))),
        ("validation loss", lambda r: _said(r.get("val_loss"))),
        ("R@1 image to text", lambda r: recall(r, "i2t")),
        ("R@1 text to image", lambda r: recall(r, "t2i")),
        ("findings", lambda r: str(len(r["findings"]))),
    )
    heads = [html.Th(html.A(labels[path], href=RunEntry(path, "").address), scope="col") for path in paths]
    told = [(title, [value(row) for row in rows]) for title, value in facts]
    body = [html.Tr([html.Th(title, scope="row"), *map(html.Td, cells)]) for title, cells in told if any(cells)]
    return _scrolled(
        html.Table([html.Thead(html.Tr([html.Td(), *heads])), html.Tbody(body)], className="numbers"), "Results"
    )


def _said(value: Any) -> str:
    """A result in words; empty for one that the run did not report."""
    return "" if value is None else say(value)


def _findings(runs: Sequence[Run], paths: Sequence[str], labels: dict[str, str]) -> Any:
    """Codes by runs: who has what, with the way to it."""
    worst: dict[str, Any] = {}
    cells: dict[tuple[str, str], Any] = {}
    for run, path in zip(runs, paths, strict=True):
        for finding in run.findings:
            worst.setdefault(finding.code, finding)
            href = RunEntry(path, "").address + link_to(finding, run.rules)
            cells.setdefault((finding.code, path), html.A(f"step {finding.onset}", href=href))
    if not worst:
        return empty("No rule fired in any of them.")
    heads = [html.Th("finding", scope="col"), *(html.Th(labels[path], scope="col") for path in paths)]
    body = [
        html.Tr(
            [
                html.Th([severity_badge(finding.severity), f" {code} {finding.name}"], scope="row"),
                *(html.Td(cells.get((code, path), "-")) for path in paths),
            ]
        )
        for code, finding in sorted(worst.items(), key=lambda item: (-item[1].severity.rank, item[0]))
    ]
    return _scrolled(html.Table([html.Thead(html.Tr(heads)), html.Tbody(body)], className="numbers"), "Findings by run")


def _noted(run: Run) -> dict[str, Any]:
    """The settings that a run noted, and the arguments of its program."""
    program = run.header.get("program")
    facts = program if isinstance(program, Mapping) else {}
    options = options_of([str(word) for word in facts.get("arguments", [])])
    target = {"program": facts["target"]} if "target" in facts else {}
    return target | {option.name: option.value for option in options} | flatten(run.header.get("settings", {}))


def _settings(runs: Sequence[Run], labels: dict[str, str]) -> Any:
    """What differs as a table, what is equal folded below it."""
    flat = [_noted(run) for run in runs]
    unequal = differing(flat, ignore=_IGNORED)
    names = sorted(set.intersection(*(set(each) for each in flat)) - set(_IGNORED))
    equal = {name: flat[0][name] for name in names if all(same(each[name], flat[0][name]) for each in flat[1:])}
    heads = [html.Th("setting", scope="col"), *(html.Th(name, scope="col") for name in labels.values())]
    body = [
        html.Tr([html.Th(html.Code(key), scope="row"), *(html.Td("-" if v is None else _value(v)) for v in values)])
        for key, values in unequal.items()
    ]
    table = html.Table([html.Thead(html.Tr(heads)), html.Tbody(body)], className="numbers")
    parts: list[Any] = (
        [_scrolled(table, "Settings that differ")] if unequal else [empty("None that the runs noted differs.")]
    )
    if equal:
        rows = [html.Tr([html.Th(html.Code(key), scope="row"), html.Td(_value(value))]) for key, value in equal.items()]
        folded = html.Table(html.Tbody(rows), className="numbers")
        count = f"{len(equal)} setting{'s' if len(equal) != 1 else ''} equal in all of them"
        parts.append(html.Details([html.Summary(count), folded], **{"data-finding": "equal settings"}))
    return parts


def _value(value: Any) -> str:
    return str(value) if isinstance(value, (bool, list, tuple, dict)) else say(value)


def _scrolled(table: Any, label: str) -> Any:
    return html.Div(table, className="scrolled", tabIndex="0", role="region", **{"aria-label": label})


PAGE = Compare()
