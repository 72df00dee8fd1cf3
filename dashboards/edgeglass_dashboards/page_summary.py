"""The answer at the top of a page: the worst finding that concerns it and its fix, or what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from edgeglass_dashboards.finding_links import Rules, link_to, page_of
from edgeglass_dashboards.findings_view import icon, severity_badge
from edgeglass_diag.records import Finding
from edgeglass_diag.store import Run


def concerning(run: Run, *pages: str) -> list[Finding]:
    """Return the findings of a run that these pages show, worst first."""
    return [finding for finding in run.findings if page_of(finding.code, run.rules) in pages]


def answer(findings: Sequence[Finding], rules: Rules, words: str, *, recorded: bool, healthy: bool = True) -> Any:
    """The headline of a page.

    Args:
        findings: those that concern the page, worst first.
        rules: those of the run.
        words: what was measured, for where no rule fired; added to the finding where one did.
        recorded: whether there is anything to judge.
        healthy: whether all that was measured is within its bounds.
    """
    if not findings:
        tone = "good" if recorded and healthy else "neutral"
        start = "No rule fired here. " if recorded else ""
        return html.Div([icon(tone), html.Span(start + words)], className=f"answer tone-{tone}")
    first, *others = findings
    parts: list[Any] = [
        html.Div([severity_badge(first.severity), html.Span(f"{first.code} {first.name}", className="finding-code")],
                 className="finding-head"),
        html.P(first.message, className="answer-message"),
    ]  # fmt: skip
    if first.fix:
        parts.append(html.P([html.Strong("What to change: "), first.fix], className="finding-fix"))
    if words:
        parts.append(html.P(words, className="caption"))
    if others:
        parts.append(html.P(["Also: ", *_links(others, rules)], className="caption"))
    return dmc.Paper(
        html.Article(parts), withBorder=True, p="md", radius="md", className=f"finding edge-{first.severity}"
    )


def _links(findings: Sequence[Finding], rules: Rules) -> list[Any]:
    seen: dict[str, Any] = {}
    for finding in findings:
        seen.setdefault(finding.code, html.A(f"{finding.code} {finding.name}", href=link_to(finding, rules)))
    return [part for link in seen.values() for part in (link, " ")]
