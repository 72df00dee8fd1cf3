"""What each rule was judged on, for the catalogue of rules."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgeglass_diag.records import Finding
from edgeglass_models.exam.expected import EXPECTED
from edgeglass_models.exam.product import JUDGED
from edgeglass_models.exam.results import Result
from edgeglass_models.exam.truth import Truth

_PARTS = ("study", "exam")


def judged(results: Sequence[Result]) -> dict[str, dict[str, object]]:
    """Return for each code that was expected or said what came of it, by part.

    ``found`` are ill cases that are named by it, ``false`` healthy trainings and harmless cases about which it warns,
    ``cases`` ill cases for which it is expected.
    """
    codes = {code for expected in EXPECTED.values() for code in expected}
    codes |= {alarm.code for result in results for one in result.detections for alarm in one.alarms}
    return {code: _of(code, results) for code in sorted(codes)}


def write_judged(results: Sequence[Result], file: Path = JUDGED) -> None:
    """Write what each rule was judged on where ``edgeglass-diag rules`` reads it."""
    file.write_text(json.dumps(judged(results), indent=1, sort_keys=True) + "\n")


def _of(code: str, results: Sequence[Result]) -> dict[str, object]:
    ill = [result for result in results if result.truth is Truth.ILL]
    cases = sum(code in EXPECTED.get(result.operator, ()) for result in ill)
    parts: dict[str, object] = {}
    for part in _PARTS:
        own = [result for result in results if result.part == part]
        parts[part] = {
            "found": sum(_is_named(one, code) for one in own),
            "false": sum(_false(one, code) for one in own),
        }
    return {**parts, "cases": cases}


def _is_named(result: Result, code: str) -> bool:
    return result.truth is Truth.ILL and result.first is not None and _has(result.first.named, code)


def _false(result: Result, code: str) -> int:
    """Return the number of trainings of a healthy program, or whether a harmless case, has a false alarm."""
    if result.operator and result.truth is not Truth.HARMLESS:
        return 0
    return sum(_has(one.alarms, code) for one in (result.detections[:1] if result.operator else result.detections))


def _has(findings: Iterable[Finding], code: str) -> bool:
    return any(finding.code == code for finding in findings)
