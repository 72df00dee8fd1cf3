"""Compare: two to six runs side by side, and where they part."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import dash_mantine_components as dmc
from dash import html

from edgeglass_dashboards.context import Context
from edgeglass_dashboards.finding_links import link_to
from edgeglass_dashboards.findings_view import icon, severity_badge
from edgeglass_dashboards.panels import Panel, StillPanel, empty, slot
from edgeglass_dashboards.runs import UNREADABLE, RunEntry, reading
from edgeglass_diag.comparison import compare_runs
from edgeglass_diag.figures.compare import losses_figure
from edgeglass_diag.signals import Signal
from edgeglass_diag.signals.losses import LOSS_CHANCE, LOSS_TOTAL
from edgeglass_diag.store import Run
from edgeglass_diag.verdict import say

_FILLS = "Choose two to six runs above: their losses, each divided by its chance level, appear here."
_MOST = 6


class Compare:
    """Losses over chance, results, findings and settings of the chosen runs."""

    name = "compare"
    title = "Compare runs"
    question = "Where do the runs part, and what do they differ in?"
    signals: tuple[Signal, ...] = ()

    def sections(self, context: Context) -> dict[str, Any]:
        """The first divergence in words, and three tables."""
        with _opened(context) as runs:
            labels = _labels(list(runs))
            if len(runs) < 2:
                words = "Choose at least two runs." if len(runs) else _no_runs(context)
                nothing = empty("Two runs are needed.")
                return {"parting": empty(words), "sides": nothing, "compared-findings": nothing, "settings": nothing,
                        "unreadable": _unreadable(context)}  # fmt: skip
            compared = compare_runs(list(runs.values()))
            return {
                "parting": _parting(compared["first_divergence"], labels),
                "sides": _sides(compared["runs"], list(runs), labels),
                "compared-findings": _findings(list(runs.values()), list(runs), labels),
                "settings": _settings(compared["differing_settings"], labels),
                "unreadable": _unreadable(context),
            }

    def panels(self, context: Context) -> Sequence[Panel]:
        """The losses."""
        return (self._losses(context),)

    def body(self, context: Context, content: dict[str, Any]) -> Any:
        """The choice of runs, the divergence, the tables."""
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
        curves = [
            dmc.Title("Loss over chance", order=2, size="h4"),
            html.Div(content["parting"], id="parting"),
            html.Div(slot(self._losses(context), content), id="losses-panel"),
        ]
        cards = [
            dmc.Paper(part, withBorder=True, p="md", radius="md", className="figure-card")
            for part in (
                [choice, html.Div(content["unreadable"], id="unreadable")],
                curves,
                [dmc.Title("Side by side", order=2, size="h4"), html.Div(content["sides"], id="sides")],
                [
                    dmc.Title("Findings", order=2, size="h4"),
                    html.Div(content["compared-findings"], id="compared-findings"),
                ],
                [dmc.Title("Settings that differ", order=2, size="h4"), html.Div(content["settings"], id="settings")],
            )
        ]
        return html.Div(cards, className="stack")

    @staticmethod
    def _losses(context: Context) -> StillPanel:
        with _opened(context) as runs:
            key = [[path, run.last_step] for path, run in runs.items()]

        def make(template: Any) -> Any:
            with _opened(context) as runs:
                labels = _labels(list(runs))
                series = {labels[path]: _relative(run) for path, run in runs.items()}
                parts = compare_runs(list(runs.values()))["first_divergence"] if len(runs) > 1 else None
                found = any(steps for steps, _ in series.values())
                return losses_figure(series, parts["step"] if parts else None, template) if found else None

        return StillPanel("losses", key, make, _FILLS)


class _opened(ExitStack):  # noqa: N801  reads as a verb where it is used
    """The chosen runs by path, open inside of ``with``."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context

    def __enter__(self) -> dict[str, Run]:  # type: ignore[override]
        super().__enter__()
        found = {}
        for entry in chosen(self._context):
            if self._context.index.summary(entry).status != UNREADABLE:
                found[entry.path] = self.enter_context(reading(self._context.root, entry.path))
        return found


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


def _labels(paths: Sequence[str]) -> dict[str, str]:
    """The shortest ends of the paths that tell the runs apart.

    >>> _labels(["a/x", "b/x"]), _labels(["a/x", "a/y"])
    ({'a/x': 'a/x', 'b/x': 'b/x'}, {'a/x': 'x', 'a/y': 'y'})
    """
    last = [path.rpartition("/")[2] for path in paths]
    return {path: name if last.count(name) == 1 else path for path, name in zip(paths, last, strict=True)}


def _relative(run: Run) -> tuple[list[int], list[float]]:
    chance = {reading.step: reading.values[0] for _, reading in run.readings(LOSS_CHANCE, site="")}
    total = {reading.step: reading.values[0] for _, reading in run.readings(LOSS_TOTAL, site="")}
    steps = [step for step in total if chance.get(step, 0.0) > 0]
    return steps, [total[step] / chance[step] for step in steps]


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
        return say((row.get(way) or {}).get("R@1", ""))

    facts = (
        ("status", lambda r: html.Span([icon(r["status"]), r["status"]], className=f"badge status-{r['status']}")),
        ("steps", lambda r: str(r["steps"])),
        ("training loss", lambda r: say(r.get("train_loss") or "")),
        ("validation loss", lambda r: say(r.get("val_loss") or "")),
        ("R@1 image to text", lambda r: recall(r, "i2t")),
        ("R@1 text to image", lambda r: recall(r, "t2i")),
        ("findings", lambda r: str(len(r["findings"]))),
    )
    heads = [html.Th(html.A(labels[path], href=RunEntry(path, "").address), scope="col") for path in paths]
    body = [html.Tr([html.Th(title, scope="row"), *(html.Td(value(row)) for row in rows)]) for title, value in facts]
    return _scrolled(
        html.Table([html.Thead(html.Tr([html.Td(), *heads])), html.Tbody(body)], className="numbers"), "Results"
    )


def _findings(runs: Sequence[Run], paths: Sequence[str], labels: dict[str, str]) -> Any:
    """Codes by runs: who has what, with the way to it."""
    worst: dict[str, Any] = {}
    cells: dict[tuple[str, str], Any] = {}
    for run, path in zip(runs, paths, strict=True):
        for finding in run.findings:
            worst.setdefault(finding.code, finding)
            href = RunEntry(path, "").address + link_to(finding, run.rules)
            cells.setdefault((finding.code, path), html.A(f"step {finding.step}", href=href))
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


def _settings(differing: dict[str, list[Any]], labels: dict[str, str]) -> Any:
    if not differing:
        return empty("None that the runs noted.")
    heads = [html.Th("setting", scope="col"), *(html.Th(name, scope="col") for name in labels.values())]
    body = [
        html.Tr(
            [html.Th(html.Code(key), scope="row"), *(html.Td("-" if value is None else say(value)) for value in values)]
        )
        for key, values in differing.items()
    ]
    return _scrolled(
        html.Table([html.Thead(html.Tr(heads)), html.Tbody(body)], className="numbers"), "Settings that differ"
    )


def _scrolled(table: Any, label: str) -> Any:
    return html.Div(table, className="scrolled", tabIndex="0", role="region", **{"aria-label": label})


PAGE = Compare()
