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
from edgeglass_diag.verdict import share_recorded


def answer(run: Run, pages: Sequence[str], words: str, *, recorded: bool, healthy: bool = True) -> Any:
    """The headline of a page.

    Args:
        run: that is shown.
        pages: whose findings concern this page.
        words: what was measured, for where no rule fired; added to the finding where one did.
        recorded: whether there is anything to judge.
        healthy: whether all that was measured is within its bounds.
    """
    rules = run.rules
    findings = [finding for finding in run.findings if page_of(finding.code, rules) in pages]
    if not findings:
        tone = "good" if recorded and healthy else "neutral"
        start = f"No rule fired here{share_recorded(run.record.recorded, run.record.taken)}. " if recorded else ""
        return html.Div([icon(tone), html.Span(start + words)], className=f"answer tone-{tone}")
    first = findings[0]
    others = [finding for finding in findings[1:] if finding.code != first.code]
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
    return [part for link in seen.values() for part in (", ", link)][1:]
