"""The text of a failing guard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from edgeglass_diag.initcheck.certificate import Change
from edgeglass_diag.records import Finding
from edgeglass_diag.rules import Rule


def verdict(
    findings: Sequence[Finding], changes: Sequence[Change], baseline: Path | None, rules: Iterable[Rule]
) -> str:
    """Return the message with which a test fails: each finding, then each difference from the certificate.

    Args:
        findings: that fail the test.
        changes: of statistics.
        baseline: file of the certificates.
        rules: as configured, by which the findings were made.
    """
    thresholds = {rule.code: rule.thresholds for rule in rules}
    parts = [paragraph(finding, thresholds.get(finding.code, {})) for finding in findings]
    if changes:
        lines = "\n".join(f"  {change}" for change in changes)
        parts.append(
            f"Initialisation changed: {len(changes)} statistics differ from {baseline}:\n{lines}\n"
            "  fix:      if this is intended, run pytest with --eg-update and commit the file"
        )
    return "Bad initialisation\n\n" + "\n\n".join(parts) if findings else parts[0]


def paragraph(finding: Finding, thresholds: Mapping[str, float]) -> str:
    """Return a finding as lines: site, measured value, allowed value, source line, message and fix."""
    measured = ", ".join(f"{k} {v:.4g}" for k, v in finding.evidence.items() if isinstance(v, float) and k != "std")
    allowed = ", ".join(f"{k} {v:g}" for k, v in thresholds.items())
    rows = {
        "site": finding.site,
        "measured": measured,
        "allowed": allowed,
        "init": "" if finding.place is None else str(finding.place),
        "because": finding.message,
        "fix": finding.fix,
    }
    lines = [f"  {name + ':':<10}{text}" for name, text in rows.items() if text]
    return "\n".join([f"{finding.severity.upper()} {finding.code} {finding.name}", *lines])
