"""Findings as SARIF 2.1.0, the format in which code hosts show findings at a line of code.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edgeglass_diag.catalogue import catalogue, page
from edgeglass_diag.gate.known import write_text
from edgeglass_diag.gate.links import rule_url
from edgeglass_diag.gate.results import CHANGED, CHANGED_NAME, Result

LEVELS = {"info": "note", "warning": "warning", "critical": "error"}
FINGERPRINT = "edgeglassFinding/v1"
_ROOT = "%SRCROOT%"


def sarif(found: Sequence[Result], root: Path, *, states: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return a SARIF log with one run and one result per finding.

    Args:
        found: with their places.
        root: folder of the repository; files below it are named relative to it.
        states: by fingerprint what a baseline says: new, unchanged or updated; None where there is none.
    """
    rules = _rules({each.code for each in found})
    driver = {"name": "edgeglass-diag", "semanticVersion": version("edgeglass-diag"), "rules": rules}
    index = {rule["id"]: number for number, rule in enumerate(rules)}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "results": [_result(each, root, index, states) for each in found],
            }
        ],
    }


def write_sarif(
    file: Path, found: Sequence[Result], root: Path, *, states: Mapping[str, str] | None = None, option: str = "--sarif"
) -> None:
    """Write findings as SARIF; see ``sarif``.

    Raises:
        UsageError: if the file cannot be written.
    """
    write_text(file, json.dumps(sarif(found, root, states=states), indent=1) + "\n", option)


def _rules(codes: set[str]) -> list[dict[str, Any]]:
    """Return the descriptors of rules, by code; rules that this version does not have are left out."""
    rules = [
        _rule(entry["code"], entry["name"], entry["severity"], entry["summary"], entry["fix"], page(entry["code"]))
        for entry in catalogue()
        if entry["code"] in codes
    ]
    if CHANGED in codes:
        text = "A statistic of the initialisation is outside the tolerance of its certificate."
        fix = "If this is intended, run pytest with --eg-update and commit the file."
        rules.append(_rule(CHANGED, CHANGED_NAME, "warning", text, fix, f"{text}\n\nFix: {fix}"))
    return rules


def _rule(code: str, name: str, severity: str, summary: str, fix: str, full: str) -> dict[str, Any]:
    url = rule_url(code)
    return {
        "id": code,
        "name": name,
        "shortDescription": {"text": summary},
        "fullDescription": {"text": summary},
        "help": {"text": f"{full}\n\nMore: edgeglass-diag rules {code}", "markdown": full},
        "defaultConfiguration": {"level": LEVELS[severity]},
        **({} if url is None else {"helpUri": url}),
    }


def _result(found: Result, root: Path, index: Mapping[str, int], states: Mapping[str, str] | None) -> dict[str, Any]:
    fix = f"\n\nFix: {found.fix}" if found.fix else ""
    about = {"site": found.site, "subject": found.subject, "because_of": found.because_of}
    return {
        "ruleId": found.code,
        **({"ruleIndex": index[found.code]} if found.code in index else {}),
        "level": LEVELS[found.severity],
        "message": {"text": f"{found.message}{fix}"},
        "locations": _locations(found, root),
        "partialFingerprints": {FINGERPRINT: found.fingerprint},
        **({} if states is None else {"baselineState": states[found.fingerprint]}),
        "properties": {name: value for name, value in about.items() if value},
    }


def _locations(found: Result, root: Path) -> list[dict[str, Any]]:
    """Return one location, none where neither a file nor a site is known."""
    location: dict[str, Any] = {}
    if found.file:
        location["physicalLocation"] = {
            "artifactLocation": _artifact(Path(found.file), root),
            "region": {"startLine": max(1, found.line)},
        }
    if found.site:
        location["logicalLocations"] = [{"fullyQualifiedName": found.site}]
    return [location] if location else []


def _artifact(file: Path, root: Path) -> dict[str, str]:
    file = Path(root / file)
    if file.is_relative_to(root):
        return {"uri": quote(file.relative_to(root).as_posix()), "uriBaseId": _ROOT}
    return {"uri": file.as_uri()}
