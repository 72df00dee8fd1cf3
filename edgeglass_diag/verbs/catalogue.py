"""The verb ``rules``: one catalogue of what a run and what the audit of logs can find."""

from __future__ import annotations

from typing import Any

from edgeglass_diag.audit.conclusions import CONCLUSIONS
from edgeglass_diag.rules import CATALOGUE


def catalogue() -> list[dict[str, Any]]:
    """All rules, and the conclusions that only the audit draws, by code, as plain values; ``of`` is run or audit."""
    rules: list[dict[str, Any]] = [
        {
            "code": rule.code,
            "name": rule.name,
            "severity": rule.severity.value,
            "of": "run",
            "summary": rule.summary(),
            "threshold": rule().thresholds,
            "source": rule.source,
            "fix": rule.fix,
        }
        for rule in CATALOGUE
    ]
    audited: list[dict[str, Any]] = [
        {
            "code": one.code,
            "name": one.name,
            "severity": one.severity.value,
            "of": "audit",
            "summary": one.summary,
            "threshold": {},
            "source": one.source,
            "fix": one.fix,
        }
        for one in CONCLUSIONS
    ]
    return sorted([*rules, *audited], key=lambda entry: str(entry["code"]))


def page(code: str) -> str:
    """One rule in full: what, why, formula, thresholds, source, fix."""
    rule = next((rule for rule in CATALOGUE if rule.code == code), None)
    if rule is None:
        return _audit_page(code)
    thresholds = ", ".join(f"{name} = {value:g}" for name, value in rule().thresholds.items())
    return "\n\n".join(
        [
            f"{rule.code} {rule.name} ({rule.severity.value})",
            rule.page(),
            f"Thresholds: {thresholds}",
            f"Source: {rule.source}",
            f"Fix: {rule.fix}",
        ]
    )


def _audit_page(code: str) -> str:
    one = next(one for one in CONCLUSIONS if one.code == code)
    return "\n\n".join(
        [
            f"{one.code} {one.name} ({one.severity.value}; by edgeglass-diag audit alone)",
            one.summary,
            f"Source: {one.source}",
            f"Fix: {one.fix}",
        ]
    )
