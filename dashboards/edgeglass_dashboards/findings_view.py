"""Findings as components: severity in text, shape and colour; every foreign text stays text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from edgeglass_dashboards.compact_html import plain
from edgeglass_dashboards.finding_links import Rules, link_to
from edgeglass_dashboards.view import View
from edgeglass_diag.records import Finding
from edgeglass_diag.render.findings import evidence_texts, mark_text, sites_text
from edgeglass_diag.verdict import Branch, Verdict


def severity_badge(severity: str) -> Any:
    """An icon and the word, in the colour of the severity."""
    return html.Span([icon(severity), severity], className=f"badge tone-{severity}")


def icon(name: str) -> Any:
    """A drawn sign for a severity, a tone or a status; the word next to it says the same."""
    return html.Span(className=f"icon icon-{name}", **{"aria-hidden": "true"})


def verdict_line(verdict: Verdict) -> Any:
    """What is said of a run first; what was not recorded of it stands in a line of its own."""
    words = [html.Span(verdict.model)]
    if verdict.record:
        words.append(html.Span(verdict.record, className="verdict-record"))
    return html.Div([icon(verdict.tone), html.Div(words)], className=f"verdict tone-{verdict.tone}")


def finding_card(branch: Branch, rules: Rules, *, headline: bool = False) -> Any:
    """A root finding with evidence and fix, and below it what follows from it."""
    finding = branch.finding
    children = [
        html.Div([severity_badge(finding.severity), *_identity(finding, rules)], className="finding-head"),
        dmc.Title(finding.message, order=2 if headline else 3, className="finding-message"),
        *_all_sites(finding, f"card {finding.code} {finding.site}", f"All {len(finding.sites)} sites"),
        *_details(finding),
    ]
    if branch.consequences:
        children.append(_consequences(branch, rules, 3 if headline else 4))
    return dmc.Paper(
        html.Article(children),
        withBorder=True,
        p="md",
        radius="md",
        className=f"finding edge-{finding.severity}" + (" headline" if headline else ""),
    )


def further_findings(branches: Sequence[Branch], rules: Rules) -> Any:
    """The cards of the findings that have another cause than the headline; nothing when there are none."""
    if not branches:
        return None
    cards = dmc.SimpleGrid([finding_card(branch, rules) for branch in branches], cols={"base": 1, "md": 2})
    return [dmc.Title("Other findings", order=2, size="h4", mb="sm"), cards]


def findings_table(findings: Sequence[Finding], rules: Rules) -> Any:
    """All findings, one row each; on a narrow screen each row is set as a block."""
    columns = ["severity", "code", "name", "site", "step", "message", "fix"]
    if any(finding.mark for finding in findings):
        columns.append("explained")
    head = html.Thead(html.Tr([html.Th(column, scope="col") for column in columns]))
    rows = [
        html.Tr(
            [
                html.Td(_cell(finding, column, rules), className=f"column-{column}", **{"data-label": column})
                for column in columns
            ]
        )
        for finding in findings
    ]
    caption = html.Caption(f"{len(findings)} finding{'s' if len(findings) != 1 else ''}, worst first")
    return plain(html.Table([caption, head, html.Tbody(rows)], className="findings-table"))


def _cell(finding: Finding, column: str, rules: Rules) -> Any:
    if column == "severity":
        return severity_badge(finding.severity)
    if column == "site":
        return _all_sites(finding, f"row {finding.code} {finding.site}", sites_text(finding)) or _site(finding)
    if column == "code":
        return html.A(finding.code, href=link_to(finding, rules))
    if column == "explained":
        return mark_text(finding)
    return str(getattr(finding, column))


def _site(finding: Finding) -> Any:
    words = sites_text(finding)
    return html.Code(words) if words == finding.site else words


def _all_sites(finding: Finding, key: str, title: str) -> list[Any]:
    """The sites of a finding that has several, folded; ``key`` tells this list from others on the page."""
    if len(finding.sites) < 2:
        return []
    places = html.Ul([html.Li(html.Code(site or "(model)")) for site in finding.sites])
    return [html.Details([html.Summary(title), places], **{"data-finding": key})]


def _identity(finding: Finding, rules: Rules) -> list[Any]:
    way = {"aria-label": f"Show {finding.code}"}
    return [
        html.Span(f"{finding.code} {finding.name}", className="finding-code"),
        html.Span(["at ", _site(finding), f", step {finding.step}"], className="finding-place"),
        html.A("Show", href=link_to(finding, rules), className="finding-way", **way),
    ]


def _details(finding: Finding) -> list[Any]:
    parts = []
    if finding.fix:
        parts.append(html.P([html.Strong("What to change: "), finding.fix], className="finding-fix"))
    if said := mark_text(finding):
        way = html.A(said, href=View(page="explain").link())
        parts.append(html.P([html.Strong("Explained: "), way], className="finding-mark"))
    if evidence := evidence_texts(finding):
        pairs = [html.Div([html.Dt(name), html.Dd(text)]) for name, text in evidence]
        parts.append(html.Dl(pairs, className="evidence", **{"aria-label": "evidence"}))
    return parts


def _consequences(branch: Branch, rules: Rules, order: int) -> Any:
    items = [_consequence(item, rules, order + 1) for item in branch.consequences]
    count = len(items)
    title = f"Follows from {branch.finding.code} ({count} finding{'s' if count != 1 else ''})"
    return html.Section([dmc.Title(title, order=min(order, 6)), html.Ul(items)], className="consequences")


def _consequence(branch: Branch, rules: Rules, order: int) -> Any:
    finding = branch.finding
    children = [
        html.Div([severity_badge(finding.severity), *_identity(finding, rules)], className="finding-head"),
        html.P(finding.message, className="consequence-message"),
        *_all_sites(finding, f"card {finding.code} {finding.site}", f"All {len(finding.sites)} sites"),
    ]
    details = _details(finding)
    if details:
        summary = html.Summary(f"Evidence and fix of {finding.code}")
        key = f"{finding.code} {finding.site}"
        children.append(html.Details([summary, *details], **{"data-finding": key}))
    if branch.consequences:
        children.append(_consequences(branch, rules, order))
    return html.Li(children)
