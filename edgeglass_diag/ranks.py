"""What several ranks found, told once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgeglass_diag.records import Finding


def merge_findings(found: Mapping[int, Sequence[Finding]]) -> list[Finding]:
    """Findings of all ranks, each code and site once: the worst, and of equals that of the lowest rank.

    The step is that of the rank which made the finding first. Where only some ranks have it, the message says
    which.

    Args:
        found: findings by rank.

    Example:
        >>> from edgeglass_diag.records import Severity
        >>> finding = Finding("EG801", "non-finite", Severity.CRITICAL, "", 3, "NaN")
        >>> [merged.message for merged in merge_findings({0: [], 1: [finding]})]
        ['NaN (rank 1 only)']
    """
    holders: dict[tuple[str, str], dict[int, Finding]] = {}
    for rank in sorted(found):
        for finding in found[rank]:
            holders.setdefault(finding.key, {})[rank] = finding
    return [_merged(by_rank, total=len(found)) for by_rank in holders.values()]


def _merged(by_rank: Mapping[int, Finding], *, total: int) -> Finding:
    worst = max(by_rank.values(), key=lambda f: f.severity.rank)
    message = worst.message
    if len(by_rank) < total:
        word = "rank" if len(by_rank) == 1 else "ranks"
        message += f" ({word} {', '.join(map(str, by_rank))} only)"
    return replace(worst, step=min(f.step for f in by_rank.values()), message=message)
