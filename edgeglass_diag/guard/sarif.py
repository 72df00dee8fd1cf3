"""Findings as SARIF 2.1.0, the format in which code hosts show findings at a line of code.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edgeglass_diag.rules import CATALOGUE

_LEVELS = {"info": "note", "warning": "warning", "critical": "error"}
CHANGED = "EG059"
"""Code of a statistic that differs from its certificate."""


def sarif(results: Iterable[Mapping[str, Any]], root: Path) -> dict[str, Any]:
    """Return a SARIF log with one run and one result per finding.

    Args:
        results: with code, severity, message, fix, site, file, line.
        root: folder of the repository; files below it are named relative to it.
    """
    found = [_result(result, root) for result in results]
    used = {result["ruleId"] for result in found}
    rules = [
        {
            "id": rule.code,
            "name": rule.name,
            "shortDescription": {"text": rule.summary()},
            "help": {"text": rule.fix},
        }
        for rule in CATALOGUE
        if rule.code in used
    ]
    if CHANGED in used:
        text = "A statistic of the initialisation is outside the tolerance of its certificate."
        rules.append({"id": CHANGED, "name": "init-changed", "shortDescription": {"text": text}})
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": {"name": "edgeglass-diag", "rules": rules}}, "results": found}],
    }


def _result(result: Mapping[str, Any], root: Path) -> dict[str, Any]:
    file = Path(str(result["file"]))
    file = file if file.is_absolute() else root / file
    inside = file.is_relative_to(root)
    location = {
        "physicalLocation": {
            "artifactLocation": {"uri": file.relative_to(root).as_posix() if inside else file.as_uri()},
            "region": {"startLine": max(1, int(result["line"]))},
        },
        "logicalLocations": [{"fullyQualifiedName": result["site"]}],
    }
    fix = result.get("fix")
    return {
        "ruleId": result["code"],
        "level": _LEVELS[str(result["severity"])],
        "message": {"text": f"{result['message']}{f' Fix: {fix}' if fix else ''}"},
        "locations": [location],
    }
