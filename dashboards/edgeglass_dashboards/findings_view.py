"""Findings as components: severity in text, shape and colour; every foreign text stays text."""

from __future__ import annotations

from typing import Any

from dash import html

from edgeglass_dashboards.finding_links import Rules, link_to
from edgeglass_dashboards.view import View
from edgeglass_diag.headline import Headline, title_of
from edgeglass_diag.records import Finding
from edgeglass_diag.render.findings import sites_text


def severity_badge(severity: str) -> Any:
    """An icon and the word, in the colour of the severity."""
    return html.Span([icon(severity), severity], className=f"badge tone-{severity}")


def icon(name: str) -> Any:
    """A drawn sign for a severity, a tone or a status; the word next to it says the same."""
    return html.Span(className=f"icon icon-{name}", **{"aria-hidden": "true"})


def verdict_line(tone: str, words: str, record: str = "") -> Any:
    """What is said of a run first; what was not recorded of it stands in a line of its own."""
    parts = [html.Span(words)]
    if record:
        parts.append(html.Span(record, className="verdict-record"))
    return html.Div([icon(tone), html.Div(parts)], className=f"verdict tone-{tone}")


def _without_title(finding: Finding, rules: Rules) -> str:
    """Return the message without the name of the fault at its beginning, which the verdict above it has said."""
    title, separator, measured = finding.message.partition(": ")
    said = title_of(finding, rules)
    if not separator or title != said:
        return finding.message
    first = measured.partition(" ")[0]
    is_word = first.isalpha() and first not in (finding.site, finding.focus)  # a path stays as it is written
    return measured[:1].upper() + measured[1:] if is_word else measured


def verdict_details(said: Headline, rules: Rules) -> Any:
    """What was measured, where it lies and what to change; nothing where nothing is wrong."""
    if said.branch is None:
        return None
    finding = said.branch.finding
    where: Any = sites_text(finding)
    if said.site:
        words = where if finding.site else said.site
        link = html.A(html.Code(words), href=View(page="site", site=said.site).link())
        where = link if finding.site else [f"{where}; look first at ", html.Br(), link]
    seen = html.A(_without_title(finding, rules), href=link_to(finding, rules), className="finding-message")
    pairs = [("What was measured", seen), ("Where", where)]
    if finding.fix:
        pairs.append(("What to change", html.Span(finding.fix, className="finding-fix")))
    return html.Dl([html.Div([html.Dt(name), html.Dd(words)]) for name, words in pairs], className="verdict-details")
