"""The rules and the conclusions of the audit, as plain values and as pages."""

from __future__ import annotations

from typing import Any

from edgeglass_diag.auditing.catalogue import CONCLUSIONS
from edgeglass_diag.rules import all_rules, find_rule
from edgeglass_diag.rules.document import rule_page


def catalogue() -> list[dict[str, Any]]:
    """Return all rules, and the conclusions that only the audit draws, by code, as plain values.

    Rules of other packages are among them; ``of`` is run or audit.
    """
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
        for rule in all_rules()
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
    """Return one rule in full: what, why, formula, thresholds, source, fix, examples, and what can bring it."""
    rule = find_rule(code)
    return _audit_page(code) if rule is None else rule_page(rule)


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
