"""The rules as plain values and as pages, and the page of documentation made of the same text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgeglass_diag.auditing.conclusions import CONCLUSIONS
from edgeglass_diag.rules import CATALOGUE, Rule, all_rules
from edgeglass_diag.rules.causality import BROUGHT_BY
from edgeglass_diag.rules.examples import EXAMPLES

FAMILIES = {
    "EG0": "Setup and initialisation", "EG1": "Attention", "EG2": "Optimisation", "EG3": "Embeddings", "EG4": "Loss",
    "EG5": "Data", "EG6": "Evaluation", "EG7": "Matryoshka heads", "EG8": "Numerics",
}  # fmt: skip


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
    """Return one rule in full: what, why, formula, thresholds, source, fix, examples and causes."""
    rule = next((rule for rule in all_rules() if rule.code == code), None)
    if rule is None:
        return _audit_page(code)
    return "\n\n".join([f"{rule.code} {rule.name} ({rule.severity.value})", rule.page(), *_facts(rule)])


def _facts(rule: type[Rule]) -> Iterator[str]:
    thresholds = ", ".join(f"{name} = {value:g}" for name, value in rule().thresholds.items())
    yield f"Thresholds: {thresholds or 'none'}"
    yield f"Source: {rule.source}"
    yield f"Fix: {rule.fix}"
    example = EXAMPLES.get(rule.code)
    if example is not None:
        yield f"Faulty:  {example.faulty}\nHealthy: {example.healthy}"
    if rule.code in BROUGHT_BY:
        yield f"Can follow from: {', '.join(BROUGHT_BY[rule.code])}"


def document() -> str:
    """Return the page docs/rules.md in Markdown: every rule of this package."""
    parts = [
        "# Rules",
        "Made of the rules' own text by `make docs`. A finding that follows from another is nested under it.",
    ]
    for family, title in FAMILIES.items():
        rules = [rule for rule in CATALOGUE if rule.code.startswith(family)]
        parts.append(f"## {family}xx: {title}")
        for rule in rules:
            parts += [
                f"### {rule.code} {rule.name}",
                f"*{rule.severity.value}*. {rule.page()}",
                *map(_marked, _facts(rule)),
            ]
    return "\n\n".join(parts) + "\n"


def _marked(fact: str) -> str:
    if fact.startswith("Faulty"):
        return f"```\n{fact}\n```"
    name, _, text = fact.partition(": ")
    return f"**{name}:** {text}"


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
