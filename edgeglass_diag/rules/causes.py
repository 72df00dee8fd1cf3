"""Which fault brings which: one headline per cause, the rest nested under it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from edgeglass_diag.records import Finding

BROUGHT_BY: dict[str, tuple[str, ...]] = {
    "EG101": ("EG301", "EG002"),
    "EG102": ("EG002", "EG301"),
    "EG301": ("EG801", "EG002", "EG202"),
    "EG302": ("EG301", "EG002", "EG202"),
    "EG401": ("EG801", "EG301", "EG403", "EG302", "EG202"),
    "EG601": ("EG301", "EG401"),
    "EG801": ("EG202",),
}
"""For each code the codes that can bring it, the most direct first."""

LATENCY = 20
"""Steps that the rules about lasting states wait before they speak; the order within is no evidence."""


def nest(findings: Iterable[Finding]) -> list[Finding]:
    """Set ``because_of`` of each finding to the most direct cause found before it, or within ``LATENCY`` after it."""
    present = list(findings)
    first: dict[str, int] = {}
    for finding in present:
        first[finding.code] = min(finding.step, first.get(finding.code, finding.step))
    nested = []
    for finding in present:
        causes = [c for c in BROUGHT_BY.get(finding.code, ()) if c in first and first[c] <= finding.step + LATENCY]
        nested.append(replace(finding, because_of=causes[0] if causes else None))
    return nested
