"""Merges what several ranks found and measured."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import replace

from edgeglass_diag.records import Finding, Site
from edgeglass_diag.signals.parameters import GRADIENT_NORM, GRADIENT_NORM_CLIPPED, WEIGHT_NORM
from edgeglass_diag.site_paths import kin
from edgeglass_diag.sites import ParameterSite

NORMS = (GRADIENT_NORM, GRADIENT_NORM_CLIPPED, WEIGHT_NORM)
"""Signals of which a rank knows only its shard's part, where parameters are sharded."""

Row = tuple[int, int, str, int, float]
"""Rank, step, site, component, value."""


def merge_findings(found: Mapping[int, Sequence[Finding]]) -> list[Finding]:
    """Return the findings of all ranks, each code and kind of site once: the worst, of equals that of the lowest rank.

    Its sites are those of all ranks, and the step is that of the rank which made the finding first. Where only some
    ranks have it, the message says which.

    Args:
        found: findings by rank.

    Example:
        >>> from edgeglass_diag.records import Severity
        >>> finding = Finding("EG801", "non-finite", Severity.CRITICAL, "", 3, "NaN")
        >>> [merged.message for merged in merge_findings({0: [], 1: [finding]})]
        ['NaN (rank 1 only)']
    """
    holders: dict[Hashable, dict[int, Finding]] = {}
    for rank in sorted(found):
        for finding in found[rank]:
            holders.setdefault(_same(finding), {})[rank] = finding
    return [_merged(by_rank, total=len(found)) for by_rank in holders.values()]


def _same(finding: Finding) -> Hashable:
    """Return what a finding has in common with that of another rank, which may have seen another layer first.

    Older runs have a finding for each layer, without a list of sites.
    """
    return finding.code, kin(finding.site) if finding.sites else (finding.site,), finding.place


def _merged(by_rank: Mapping[int, Finding], *, total: int) -> Finding:
    worst = max(by_rank.values(), key=lambda f: f.severity.rank)
    sites = dict.fromkeys(site for finding in (worst, *by_rank.values()) for site in finding.sites)
    message = worst.message
    if len(by_rank) < total:
        word = "rank" if len(by_rank) == 1 else "ranks"
        message += f" ({word} {', '.join(map(str, by_rank))} only)"
    return replace(worst, step=min(f.step for f in by_rank.values()), message=message, sites=tuple(sites))


def sharded_sites(sites: Collection[Site]) -> set[str]:
    """Return the paths of sharded parameters and, where there are any, that of the whole model ("")."""
    found = {site.path for site in sites if isinstance(site, ParameterSite) and site.is_sharded}
    return found | {""} if found else found


def whole_norms(rows: Sequence[Row], sharded: Collection[str]) -> list[Row]:
    """Return the rows with the norm of the whole parameter on every rank: the root of the sum of the shards' squares.

    Example:
        >>> whole_norms([(0, 5, "weight", 0, 3.0), (1, 5, "weight", 0, 4.0), (0, 5, "bias", 0, 1.0)], {"weight"})
        [(0, 5, 'weight', 0, 5.0), (1, 5, 'weight', 0, 5.0), (0, 5, 'bias', 0, 1.0)]
    """
    squares: dict[tuple[int, str, int], float] = {}
    for _, step, site, component, value in rows:
        key = (step, site, component)
        squares[key] = squares.get(key, 0.0) + value * value
    return [
        (rank, step, site, component, math.sqrt(squares[step, site, component]) if site in sharded else value)
        for rank, step, site, component, value in rows
    ]
