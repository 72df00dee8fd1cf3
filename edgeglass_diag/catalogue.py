"""The rules and the conclusions of the audit, as plain values and as pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgeglass_diag.auditing.catalogue import CONCLUSIONS
from edgeglass_diag.rules import all_rules, find_rule
from edgeglass_diag.rules.document import rule_page

JUDGED = Path(__file__).parent / "rules" / "judged.json"
"""What came of each rule in the exam, by code; written by ``python -m edgeglass_models.exam --write``."""


def judged() -> dict[str, dict[str, Any]]:
    """Return what each rule was judged on in the exam, by code; empty before there was one.

    ``study`` and ``exam`` have the ill cases that the rule named (``found``) and the trainings with nothing wrong about
    which it warned (``false``); ``cases`` are the ill cases that it is to name.
    """
    content: dict[str, dict[str, Any]] = json.loads(JUDGED.read_text()) if JUDGED.exists() else {}
    return content


def judged_text(entry: dict[str, Any]) -> str:
    """Return what a rule was judged on, in few words.

    >>> judged_text({"study": {"found": 3, "false": 0}, "exam": {"found": 4, "false": 1}, "cases": 9})
    '7 of 9 cases (study 3, exam 4), 1 false'
    >>> judged_text({"study": {"found": 0, "false": 0}, "exam": {"found": 0, "false": 0}, "cases": 0})
    'no case'
    """
    study, exam = entry["study"], entry["exam"]
    false = study["false"] + exam["false"]
    wrong = f", {false} false" if false else ""
    if not entry["cases"]:
        return f"no case{wrong}"
    named = study["found"] + exam["found"]
    return f"{named} of {entry['cases']} cases (study {study['found']}, exam {exam['found']}){wrong}"


def catalogue() -> list[dict[str, Any]]:
    """Return all rules, and the conclusions that only the audit draws, by code, as plain values.

    Rules of other packages are among them; ``of`` is run or audit, ``judged`` what came of a rule in the exam, None
    where that says nothing of it.
    """
    exam = judged()
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
            "judged": exam.get(rule.code),
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
            "judged": None,
        }
        for one in CONCLUSIONS
    ]
    return sorted([*rules, *audited], key=lambda entry: str(entry["code"]))


def page(code: str) -> str:
    """Return one rule in full: what, why, formula, thresholds, source, fix, examples, and what can bring it."""
    rule = find_rule(code)
    if rule is None:
        return _audit_page(code)
    known = judged().get(rule.code)
    return rule_page(rule) if known is None else f"{rule_page(rule)}\n\nJudged in the exam: {judged_text(known)}."


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
