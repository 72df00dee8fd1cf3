"""The findings of the overview: each once, below its cause, its sites, evidence and fix folded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html

from edgeglass_dashboards.compact_html import plain
from edgeglass_dashboards.finding_links import Rules, link_to
from edgeglass_dashboards.findings_view import icon, severity_badge
from edgeglass_dashboards.view import View
from edgeglass_diag.headline import title_of
from edgeglass_diag.records import Finding
from edgeglass_diag.render.findings import evidence_texts, mark_text, sites_text
from edgeglass_diag.verdict import Branch


def findings_list(branches: Sequence[Branch], rules: Rules) -> Any:
    """The findings as a list of causes, each with what follows from it."""
    return plain(html.Ul([_item(branch, rules) for branch in branches], className="findings-list"))


def _item(branch: Branch, rules: Rules) -> Any:
    finding, count = branch.finding, len(branch.consequences)
    title = title_of(finding, rules)
    evidence = html.Details(
        [html.Summary(f"Evidence and fix of {finding.code}"), *_details(finding)],
        **{"data-finding": f"{finding.code} {finding.site}"},
    )
    parts = [
        html.Div(
            [
                severity_badge(finding.severity),
                html.A(f"{finding.code} {title}", href=link_to(finding, rules), className="finding-way"),
                html.Span(_since(finding), className="finding-place"),
            ],
            className="finding-head",
        ),
        html.Div([_places(finding), _mark(finding), evidence], className="finding-more"),
    ]
    if count:
        parts.append(
            html.P(f"Follows from {finding.code} ({count} finding{'s' if count != 1 else ''})", className="follows")
        )
        parts.append(html.Ul([_item(inner, rules) for inner in branch.consequences]))
    return html.Li(parts, className=f"finding-item edge-{finding.severity}")


def _since(finding: Finding) -> str:
    return f"found at step {finding.step}" if finding.since is None else f"since step {finding.onset}"


def _places(finding: Finding) -> Any:
    """The site as a link to its page; of several their number, which unfolds to all of them."""
    if len(finding.sites) < 2:
        return html.Div(_site(finding.site, sites_text(finding)), className="finding-place")
    links = html.Ul([html.Li(_site(site, site or "(model)")) for site in finding.sites])
    key = f"sites {finding.code} {finding.site}"
    return html.Details([html.Summary(sites_text(finding)), links], **{"data-finding": key})


def _site(site: str, words: str) -> Any:
    return html.A(html.Code(words), href=View(page="site", site=site).link()) if site else words


def _details(finding: Finding) -> list[Any]:
    parts: list[Any] = [html.P(finding.message)]
    if finding.fix:
        parts.append(html.P([html.Strong("What to change: "), finding.fix], className="finding-fix"))
    if evidence := evidence_texts(finding):
        pairs = [html.Div([html.Dt(name), html.Dd(text)]) for name, text in evidence]
        parts.append(html.Dl(pairs, className="evidence", **{"aria-label": "evidence"}))
    return parts


def _mark(finding: Finding) -> Any:
    """What replays have shown of it; nothing where the run was not explained."""
    said = mark_text(finding)
    return html.A(said, href=View(page="explain").link(), className="finding-mark") if said else None


def signs(findings: Sequence[Finding]) -> Any:
    """How many findings there are of each severity, or that there are none."""
    if not findings:
        return html.Span([icon("good"), " none"], className="badge tone-good")
    counts = {severity: sum(f.severity == severity for f in findings) for severity in ("critical", "warning", "info")}
    return [
        html.Span([icon(name), f" {count} {name}"], className=f"badge tone-{name}")
        for name, count in counts.items()
        if count
    ]
