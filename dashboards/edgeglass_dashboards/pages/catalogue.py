"""Which pages there are: those of a run in the order of their tabs, and those of all runs by their address."""

from __future__ import annotations

from edgeglass_dashboards.addresses import COMPARE, RUNS
from edgeglass_dashboards.pages import (
    attention,
    attribution,
    compare,
    coverage,
    embeddings,
    explain,
    gradients,
    overview,
    profile,
    retrieval,
    runs_list,
    signal,
    signals,
    site,
)
from edgeglass_dashboards.pages.page import Page

RUN_PAGES: tuple[Page, ...] = (
    overview.PAGE,
    explain.PAGE,
    signals.PAGE,
    attention.PAGE,
    gradients.PAGE,
    signal.PAGE,
    embeddings.PAGE,
    retrieval.PAGE,
    coverage.PAGE,
    site.PAGE,
    attribution.PAGE,
    profile.PAGE,
)
ROOT_PAGES: dict[str, Page] = {RUNS: runs_list.PAGE, COMPARE: compare.PAGE}


def page_named(name: str) -> Page | None:
    """The page of a run of that name."""
    return next((page for page in RUN_PAGES if page.name == name), None)
