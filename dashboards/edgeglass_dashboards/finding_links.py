"""Which page speaks of a finding, and the deep link to the place that it names."""

from __future__ import annotations

from edgeglass_dashboards.view import View
from edgeglass_diag.records import Finding

_PAGES = {
    "EG0": "coverage",
    "EG1": "attention",
    "EG2": "gradients",
    "EG3": "signal",
    "EG4": "overview",
    "EG5": "coverage",
    "EG6": "retrieval",
    "EG7": "retrieval",
    "EG8": "gradients",
}
_OWN_PAGE = {"EG302": "embeddings"}
_SIGNALS = {"EG202": "update/ratio", "EG102": "attention/distinct", "EG801": "gradient/norm"}
_SITE_IN = ("first_dead_module", "most_changed")


def page_of(code: str) -> str:
    """The name of the page that speaks of a rule.

    >>> page_of("EG101"), page_of("EG302"), page_of("XX1")
    ('attention', 'embeddings', 'overview')
    """
    return _OWN_PAGE.get(code, _PAGES.get(code[:3], "overview"))


def place_of(finding: Finding) -> str:
    """The address's query of the view that shows what a finding speaks of."""
    named = next((finding.evidence[key] for key in _SITE_IN if finding.evidence.get(key)), finding.site)
    page = page_of(finding.code)
    site = str(named) if named and page in ("attention", "gradients", "signal") else None
    step = finding.evidence.get("since", finding.step) if page == "signal" else None
    return View(
        page=page,
        signal=_SIGNALS.get(finding.code, "") if page in ("attention", "gradients") else "",
        site=site,
        step=step if isinstance(step, int) else None,
    ).link()
