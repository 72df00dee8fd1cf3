"""Coverage: what was observed, and why the rest was not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import dash_mantine_components as dmc
from dash import html

from edgeglass_dashboards.compact_html import plain
from edgeglass_dashboards.context import Context
from edgeglass_dashboards.findings_view import icon
from edgeglass_dashboards.page_summary import answer
from edgeglass_dashboards.panels import Panel, empty
from edgeglass_dashboards.view import View
from edgeglass_diag.records import ParameterOrigin, ParameterWrite, Site
from edgeglass_diag.render.coverage import coverage_text
from edgeglass_diag.render.sites import site_text
from edgeglass_diag.signals import Signal
from edgeglass_diag.sites import Kind
from edgeglass_diag.verdict import say

_KINDS = {
    Kind.ATTENTION: ("attention", "attentions", "attention"),
    Kind.MODULE: ("module", "modules", "signal"),
    Kind.PARAMETER: ("parameter", "parameters", "gradients"),
    Kind.EMBEDDING: ("embedding", "embeddings", "embeddings"),
    Kind.PAIR: ("pair of embeddings", "pairs of embeddings", "embeddings"),
    Kind.LOSS: ("loss", "losses", "overview"),
    Kind.BATCH: ("input", "inputs", ""),
}
_LINKED = {"attention", "gradients", "signal"}


class Coverage:
    """Every place of the model: observed, or why it cannot be; and where initial values come from."""

    name = "coverage"
    title = "Coverage"
    question = "What of the model was observed, and what was not and why?"
    signals: tuple[Signal, ...] = ()

    def sections(self, context: Context) -> dict[str, Any]:
        """The answer, what is missing, what is there, initial values."""
        run = context.run
        sites = run.sites
        missing = [site for site in sites if not site.is_observed]
        words = (
            f"{len(sites) - len(missing)} of {len(sites)} places were observed; {_all_said(missing)}."
            if sites
            else "Nothing has been recorded yet."
        )
        return {
            "answer": answer(run, (self.name,), words, recorded=bool(sites)),
            "missing": _missing(missing, recorded=bool(sites)),
            "observed": _observed([site for site in sites if site.is_observed]),
            "origins": _origins(run.origins),
        }

    def panels(self, context: Context) -> Sequence[Panel]:
        """None: this page is words."""
        return ()

    def body(self, context: Context, content: dict[str, Any]) -> Any:
        """Answer, what is missing first."""
        cards = [
            dmc.Paper(
                [dmc.Title(title, order=2, size="h4"), html.Div(content[name], id=name)],
                withBorder=True, p="md", radius="md",
            )
            for title, name in (
                ("Not observed", "missing"), ("Observed", "observed"), ("Where initial values come from", "origins")
            )
        ]  # fmt: skip
        return html.Div(
            [html.Section(content["answer"], id="answer", **{"aria-label": "Answer"}), *cards], className="stack"
        )


def _all_said(missing: Sequence[Site]) -> str:
    return f"the other {len(missing)} are listed with their reason" if missing else "nothing is missing"


def _missing(sites: Sequence[Site], *, recorded: bool) -> Any:
    if not sites:
        return empty("Everything that ran was observed." if recorded else "Places appear with the first recorded step.")
    reasons: dict[str, list[Site]] = defaultdict(list)
    for site in sites:
        reasons[coverage_text(site)].append(site)
    return plain(
        [
            html.Details(
                [
                    html.Summary([icon("neutral"), f" {reason[0].upper()}{reason[1:]} ({len(places)})"]),
                    html.Ul([html.Li([html.Code(site.path or "(model)"), f" {site.kind}"]) for site in places]),
                ],
                **{"data-finding": f"reason {reason}"},
            )
            for reason, places in sorted(reasons.items(), key=lambda item: -len(item[1]))
        ]
    )


def _observed(sites: Sequence[Site]) -> Any:
    kinds: dict[Kind, list[Site]] = defaultdict(list)
    for site in sites:
        kinds[site.kind].append(site)
    lists = [
        html.Details(
            [
                html.Summary(_count(len(kinds[kind]), one, many)),
                html.Ul(
                    [
                        html.Li([_place(site, page), " ", html.Span(site_text(site), className="dimmed")])
                        for site in kinds[kind]
                    ]
                ),
            ],
            **{"data-finding": f"kind {kind}"},
        )
        for kind, (one, many, page) in _KINDS.items()
        if kinds[kind]
    ]
    return plain(lists) if lists else empty("Places appear with the first recorded step.")


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _place(site: Site, page: str) -> Any:
    name = html.Code(site.path or "(model)")
    return html.A(name, href=View(page=page, site=site.path).link()) if page in _LINKED else name


def _origins(origins: Sequence[ParameterOrigin]) -> Any:
    if not origins:
        return empty("No write to a parameter was seen: the model was made before the watch began.")
    head = html.Tr([html.Th(text, scope="col") for text in ("parameter", "shape", "std", "writes")])
    rows = [
        html.Tr(
            [
                html.Th(
                    html.A(html.Code(origin.name), href=View(page="gradients", site=origin.name).link()), scope="row"
                ),
                html.Td(" x ".join(map(str, origin.shape))),
                html.Td(say(origin.std)),
                html.Td("; ".join(map(_write_text, origin.writes))),
            ]
        )
        for origin in origins
    ]
    table = html.Table(
        [html.Caption(_count(len(origins), *_KINDS[Kind.PARAMETER][:2])), html.Thead(head), html.Tbody(rows)],
        className="numbers",
    )
    label = {"aria-label": "Initial values as a table"}
    return plain(
        html.Details(
            [
                html.Summary(_count(len(origins), *_KINDS[Kind.PARAMETER][:2])),
                html.Div(table, className="scrolled", tabIndex="0", role="region", **label),
            ],
            **{"data-finding": "origins"},
        )
    )


def _write_text(write: ParameterWrite) -> str:
    return f"{write.op} at {PurePath(write.file).name}:{write.line}, std {say(write.std)}"


PAGE = Coverage()
