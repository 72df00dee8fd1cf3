"""Which page shows a finding, and the deep link to the place that it names."""

from __future__ import annotations

from collections.abc import Mapping

from edgeglass_dashboards.view import View
from edgeglass_diag.figures.scales import DRAWN
from edgeglass_diag.records import ConfiguredRule, Finding
from edgeglass_diag.signals import recorded

Rules = Mapping[str, ConfiguredRule]
"""The rules as they judged a run, by code."""

_OVERVIEW = "overview"
_HEATMAPS = ("attention", "gradients")
_WITH_SITES = (*_HEATMAPS, "signal")


def page_of(code: str, rules: Rules) -> str:
    """Return the name of the page that shows what a rule finds; the overview for a rule that this run does not know.

    >>> page_of("EG302", {"EG302": ConfiguredRule("EG302", "", "", page="embeddings")}), page_of("XX1", {})
    ('embeddings', 'overview')
    """
    return rules[code].page if code in rules else _OVERVIEW


def link_to(finding: Finding, rules: Rules) -> str:
    """Return the address's query of the view that shows what a finding speaks of."""
    page = page_of(finding.code, rules)
    return View(
        page=page,
        signal=_signal_of(finding.code, rules) if page in _HEATMAPS else "",
        site=(finding.focus or finding.site or None) if page in _WITH_SITES else None,
        step=(finding.step if finding.since is None else finding.since) if page == "signal" else None,
    ).link()


def _signal_of(code: str, rules: Rules) -> str:
    """Return the most telling signal of a rule that is drawn over sites and steps; empty where none is."""
    return next((signal for path in rules[code].signals if (signal := recorded(path)) in DRAWN), "")
