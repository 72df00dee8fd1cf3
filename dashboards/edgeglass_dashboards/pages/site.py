"""Site: everything that is known of one module or parameter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import dash_mantine_components as dmc
from dash import html

from edgeglass_dashboards.compact_html import plain
from edgeglass_dashboards.context import Context
from edgeglass_dashboards.findings_list import findings_list
from edgeglass_dashboards.findings_view import icon
from edgeglass_dashboards.model_map import map_words, model_map
from edgeglass_dashboards.model_states import states_of
from edgeglass_dashboards.panels import Panel, slot
from edgeglass_dashboards.site_panels import SitePanel, panels_of, related
from edgeglass_dashboards.tables import table
from edgeglass_dashboards.view import View
from edgeglass_diag import site_paths
from edgeglass_diag.figures.model_map import State, lanes_of
from edgeglass_diag.figures.scales import scale_of
from edgeglass_diag.records import Finding, ParameterOrigin, ParameterWrite, Site
from edgeglass_diag.render.coverage import coverage_text
from edgeglass_diag.render.sites import site_text
from edgeglass_diag.signals import Signal
from edgeglass_diag.sites import ModuleSite
from edgeglass_diag.verdict import Branch, about_the_record, say

_MOST_CELLS = 40
_MOST_RUNS = 100


class SitePage:
    """One place: what it is, its findings, its initial values, and every signal of it over the training."""

    name = "site"
    title = "Site"
    question = "What is known of this module or parameter?"
    signals: tuple[Signal, ...] = ()

    def key(self, context: Context) -> str:
        """What the page shows besides its run: another place is another page."""
        return context.view.site or ""

    def sections(self, context: Context) -> dict[str, Any]:
        """The words about the place; the map of all places where none is picked."""
        site, run = context.view.site, context.run
        if not site:
            return {"all-sites": _all_sites(context)}
        known = [other for other in run.sites if other.path == site]
        places = {*related(run, site), site}
        findings = [finding for finding in about_the_record(run.findings)[0] if places & _sites(finding)]
        branches = [Branch(finding) for finding in findings]
        origins = [origin for origin in run.origins if origin.name in places]
        return {
            "site-facts": _facts(known),
            "site-findings": findings_list(branches, run.rules) if branches else _none_here(bool(known)),
            "site-origins": _origins(origins),
            "site-ways": _ways(site, run.sites),
        }

    def panels(self, context: Context) -> Sequence[Panel]:
        """One for each signal that was recorded here."""
        return self._panels(context)

    def body(self, context: Context, content: dict[str, Any]) -> Any:
        """Facts, findings and initial values beside the signals."""
        site = context.view.site
        if not site:
            return dmc.Paper(html.Div(content["all-sites"], id="all-sites"), withBorder=True, p="md", radius="md")
        figures = [_figure(panel, context, content) for panel in self._panels(context)]
        nothing = html.P("No signal was recorded at this place.", className="caption")
        return html.Div(
            [
                html.Div(
                    [
                        dmc.Title(html.Code(site), order=2, size="h3", className="site-name"),
                        html.Div(content["site-facts"], id="site-facts", className="caption"),
                        html.Div(content["site-ways"], id="site-ways"),
                    ]
                ),
                html.Div(
                    [
                        _card("Findings here", "site-findings", content),
                        _card("Initial values", "site-origins", content),
                    ],
                    className="site-words",
                ),
                _picker(context),
                html.Div(figures or nothing, className="site-figures"),
            ],
            className="stack",
        )

    @staticmethod
    def _panels(context: Context) -> list[SitePanel]:
        return panels_of(context.run, context.view.site, context.view.runs) if context.view.site else []


def _card(title: str, name: str, content: dict[str, Any]) -> Any:
    return dmc.Paper(
        [dmc.Title(title, order=3, size="h6"), html.Div(content[name], id=name)],
        withBorder=True, px="sm", py="xs", radius="md", className="figure-card",
    )  # fmt: skip


def _figure(panel: SitePanel, context: Context, content: dict[str, Any]) -> Any:
    scale = scale_of(panel.signal, context.run.rules)
    said = f"{scale.meaning[0].upper()}{scale.meaning[1:]}; {scale.unit}. Bounds: {scale.bounds}."
    head = dmc.Title(scale.label, order=3, size="h6")
    figure = html.Div(
        slot(panel, content), id=f"{panel.name}-panel", role="group", **{"aria-label": f"{scale.label}: {said}"}
    )
    return dmc.Paper(
        [head, html.P(said, className="caption"), figure],
        withBorder=True, px="sm", py="xs", radius="md", className="figure-card",
    )  # fmt: skip


def _picker(context: Context) -> Any:
    """Which other runs have their lines drawn dashed beside."""
    entries = [entry for entry in context.index.entries() if not entry.problem][:_MOST_RUNS]
    own = context.run.folder.resolve()
    return dmc.MultiSelect(
        id="compared",
        label="The same place in other runs",
        data=[
            {"value": entry.path, "label": entry.label}
            for entry in entries
            if (context.root / entry.path).resolve() != own
        ],
        value=list(context.view.runs),
        placeholder="pick runs; their lines are dashed",
        searchable=True,
        maxValues=3,
        className="search",
    )


def _sites(finding: Finding) -> set[str]:
    return {*finding.sites, finding.site, finding.focus} - {""}


def _facts(known: Sequence[Site]) -> Any:
    if not known:
        return "Nothing of this run has this path."
    said = []
    for site in known:
        state = "" if site.is_observed else f", not observed: {coverage_text(site)}"
        more = site_text(site)
        said.append(f"{site.kind}{f' {more}' if more else ''}{state}")
    return "; ".join(said)


def _none_here(known: bool) -> Any:
    words = "No rule fired at this place." if known else "No finding names this place."
    return html.P([icon("good" if known else "neutral"), f" {words}"], className="caption")


def _origins(origins: Sequence[ParameterOrigin]) -> Any:
    if not origins:
        return html.P("No parameter of this place was seen to be written before the first step.", className="caption")
    rows = [
        (
            html.A(html.Code(origin.name.rpartition(".")[2]), href=View(page="site", site=origin.name).link()),
            " x ".join(map(str, origin.shape)),
            say(origin.std),
            html.Div([html.Div(_write(write)) for write in origin.writes] or "unknown"),
        )
        for origin in origins
    ]
    written = table(("parameter", "shape", "std", "written by"), rows)
    return html.Div(
        plain(written), className="scrolled", tabIndex="0", role="region", **{"aria-label": "Initial values"}
    )


def _write(write: ParameterWrite) -> list[Any]:
    std = "" if write.op == "empty" else f", std {say(write.std)}"  # of memory as it was
    place = html.Code(f"{PurePath(write.file).name}:{write.line}")
    return [f"{write.op}{std}, at ", html.Span(place, title=str(write.place))]


def _ways(site: str, sites: Sequence[Site]) -> Any:
    """What holds the place, what it holds, what flows into it and where its output goes."""
    modules = {other.path: other for other in sites if isinstance(other, ModuleSite)}
    holder = next((path for path in _around(site) if path in modules), "")
    inside = [path for path in modules if site_paths.parent(path) == site]
    inside += [path for path in related_of(site, sites) if path not in inside]
    into = modules[site].parents if site in modules else ()
    out = [path for path, other in modules.items() if site in other.parents]
    groups = (("In", [holder] if holder else []), ("Holds", inside), ("Input from", into), ("Output to", out))
    return plain([_links(words, paths) for words, paths in groups if paths])


def related_of(site: str, sites: Sequence[Site]) -> list[str]:
    """The parameters and attentions that are a module's own."""
    own = [other.path for other in sites if site_paths.parent(other.path) == site and other.path != site]
    return list(dict.fromkeys(own))


def _around(path: str) -> list[str]:
    outer = []
    while path := site_paths.parent(path):
        outer.append(path)
    return outer


def _links(words: str, paths: Sequence[str]) -> Any:
    links = [html.Li(html.A(path or "(model)", href=View(page="site", site=path).link())) for path in paths if path]
    return html.Nav(
        [html.Span(words, className="dimmed"), html.Ul(links)], className="choices steps", **{"aria-label": words}
    )


def _all_sites(context: Context) -> Any:
    """The whole model map, and every parameter as a link."""
    run = context.run
    sites = run.sites
    lanes = lanes_of(sites, states_of(run, sites, about_the_record(run.findings)[0]), most=_MOST_CELLS)
    loss = State("neutral", "all sides meet here")
    return [
        html.P(map_words(lanes), className="caption"),
        html.Div(model_map(lanes, loss), className="map-whole"),
    ]


PAGE = SitePage()
