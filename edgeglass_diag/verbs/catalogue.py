"""The verb ``rules``."""

from __future__ import annotations

from typing import Any

from edgeglass_diag.rules import all_rules


def catalogue() -> list[dict[str, Any]]:
    """All rules as plain values."""
    return [
        {
            "code": rule.code,
            "name": rule.name,
            "severity": rule.severity.value,
            "summary": rule.summary(),
            "threshold": rule().thresholds,
            "source": rule.source,
            "fix": rule.fix,
        }
        for rule in all_rules()
    ]


def page(code: str) -> str:
    """One rule in full: what, why, formula, thresholds, source, fix."""
    rule = next(rule for rule in all_rules() if rule.code == code)
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
