"""Verdicts that differ only in their layer, call or prefix become one finding with a list of sites."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.site_paths import kin


def kind_of(finding: Finding) -> Hashable:
    """Return what findings have in common that are one: rule, kind of site, and the line of source that brought it."""
    return finding.code, kin(finding.site), finding.place


def fold(verdicts: Iterable[Finding]) -> list[Finding]:
    """Return one finding for each rule, kind of site and line of source, in the order in which they were found.

    Its ``site`` is the first that was found, and ``sites`` are all of them, which is that site alone where there is
    one, and ``("",)`` where it is the whole model. Severity, message and evidence are those of the worst site, of
    several the first.
    """
    groups: defaultdict[Hashable, list[Finding]] = defaultdict(list)
    for verdict in verdicts:
        groups[kind_of(verdict)].append(verdict)
    return [_folded(group) for group in groups.values()]


def _folded(group: Sequence[Finding]) -> Finding:
    if len(group) == 1:
        return group[0]
    worst = max(group, key=lambda verdict: verdict.severity.rank)
    faults = [verdict for verdict in group if verdict.severity is not Severity.INFO] or group
    return replace(
        worst,
        site=group[0].site,
        sites=tuple(verdict.site for verdict in group),
        step=min(verdict.step for verdict in faults),
        since=min((verdict.since for verdict in group if verdict.since is not None), default=None),
        focus=worst.focus or (worst.site if worst.site != group[0].site else ""),
    )
