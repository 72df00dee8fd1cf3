"""The words of a failing guard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeglass_diag.initcheck.certificate import Change
from edgeglass_diag.records import Finding
from edgeglass_diag.rules import CATALOGUE


def verdict(findings: Sequence[Finding], changes: Sequence[Change], baseline: Path | None) -> str:
    """Return what a test fails with: each finding, then what differs from the certificate."""
    parts = [paragraph(finding) for finding in findings]
    if changes:
        lines = "\n".join(f"  {change}" for change in changes)
        parts.append(
            f"{len(changes)} statistics of the initialisation differ from {baseline}:\n{lines}\n"
            "  fix:      if this is meant, run pytest with --eg-update and commit the file"
        )
    return "the model starts ill\n\n" + "\n\n".join(parts) if findings else parts[0]


def paragraph(finding: Finding) -> str:
    """Return the site, measured, allowed, file and line, fix of one finding."""
    measured = ", ".join(f"{k} {v:.4g}" for k, v in finding.evidence.items() if isinstance(v, float) and k != "std")
    rule = next((rule for rule in CATALOGUE if rule.code == finding.code), None)
    allowed = "" if rule is None else ", ".join(f"{k} {v:g}" for k, v in rule().thresholds.items())
    rows = {
        "site": finding.site,
        "measured": measured,
        "allowed": allowed,
        "init": place(finding.evidence),
        "because": finding.message,
        "fix": finding.fix,
    }
    lines = [f"  {name + ':':<10}{text}" for name, text in rows.items() if text]
    return "\n".join([f"{finding.severity.upper()} {finding.code} {finding.name}", *lines])


def place(evidence: Mapping[str, object]) -> str:
    """``file:line`` of the write that made the value, empty where unknown."""
    last = evidence.get("last")
    source = last if isinstance(last, dict) else evidence
    return f"{source['file']}:{source['line']}" if "file" in source and "line" in source else ""


def describe(finding: Finding) -> dict[str, object]:
    """Return a finding for the machine, with file and line where they are known."""
    file, _, line = place(finding.evidence).rpartition(":")
    found = {"code": finding.code, "severity": str(finding.severity), "site": finding.site}
    return {**found, "message": finding.message, "fix": finding.fix, "file": file, "line": int(line) if line else 0}
