"""The result of each case: what it is, and what was said of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_models.exam.cache import Judged
from edgeglass_models.exam.cases import Case
from edgeglass_models.exam.located import is_located
from edgeglass_models.exam.split import Part
from edgeglass_models.exam.truth import Truth


@dataclass(frozen=True)
class Detection:
    """What was said of one training.

    Attributes:
        alarms: warnings and criticals that the healthy twin with this seed does not have as badly.
        named: those of them, or of what they follow from, that have one of the expected codes.
        located: whether one of the named points at the mistake.
        withdrawn: codes that were critical for a time.
        baseline: alarms of the baseline that the twin does not have, with their steps.
        failures: rules that raised an exception, by code.
    """

    alarms: tuple[Finding, ...]
    named: tuple[Finding, ...]
    located: bool
    withdrawn: tuple[str, ...]
    baseline: Mapping[str, int]
    failures: Mapping[str, str]

    @property
    def found(self) -> bool:
        """Whether anything was said that is not said of the twin."""
        return bool(self.alarms)

    @property
    def delay(self) -> int | None:
        """The step of the first alarm: the mistakes of the exam are there from the first step on."""
        return min((finding.step for finding in self.alarms), default=None)


@dataclass(frozen=True)
class Result:
    """A case, what it is, and what was said of it by seed.

    Attributes:
        program: its name.
        operator: name of the operator, empty for a healthy twin.
        family: of the operator.
        part: study or exam.
        truth: what it is; None for a healthy twin.
        measures: by seed.
        healthy: measures of the twin.
        detections: by seed, the first decides; none where it crashed.
        reason: why it crashed.
        seconds: CPU time of the longest of its trainings.
    """

    program: str
    operator: str
    family: str
    part: Part
    truth: Truth | None
    measures: tuple[float, ...]
    healthy: tuple[float, ...]
    detections: tuple[Detection, ...]
    reason: str = ""
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """``program:operator``."""
        return f"{self.program}:{self.operator or 'healthy'}"

    @property
    def first(self) -> Detection | None:
        """What was said of the training with the first seed."""
        return self.detections[0] if self.detections else None


def detection(case: Case, judged: Judged, twin: Judged | None, expected: Sequence[str]) -> Detection:
    """Return what was said of one training of a case.

    Args:
        case: the case.
        judged: its record.
        twin: the healthy twin's with the same seed; None for that itself, of which every alarm counts.
        expected: codes that name the fault.
    """
    known = {} if twin is None else _worst(twin.findings)
    alarms = tuple(
        finding
        for finding in judged.findings
        if finding.severity is not Severity.INFO and finding.severity.rank > known.get(finding.code, 0)
    )
    codes = {code for alarm in alarms for code in _chain(alarm, judged.findings)}
    named = tuple(f for f in judged.findings if f.code in expected and f.code in codes)
    located = any(is_located(finding, case, judged.places) for finding in named)
    baseline = {name: step for name, step in judged.baseline.items() if twin is None or name not in twin.baseline}
    return Detection(alarms, named, located, judged.withdrawn, baseline, judged.failures)


def _worst(findings: Sequence[Finding]) -> dict[str, int]:
    """Return the rank of the worst severity of each code."""
    worst: dict[str, int] = {}
    for finding in findings:
        worst[finding.code] = max(worst.get(finding.code, 0), finding.severity.rank)
    return worst


def _chain(finding: Finding, findings: Sequence[Finding]) -> list[str]:
    """Return the code of a finding and of all that it follows from."""
    causes = {one.code: one.because_of for one in findings}
    chain: list[str] = []
    code: str | None = finding.code
    while code is not None and code not in chain:
        chain.append(code)
        code = finding.because_of if code == finding.code else causes.get(code)
    return chain


def as_dict(result: Result, *, details: bool) -> dict[str, object]:
    """Return a result as plain values.

    Args:
        result: of a case.
        details: whether to tell what was said of it.
    """
    first = result.first
    values: dict[str, object] = {
        "program": result.program,
        "operator": result.operator or None,
        "part": result.part,
        "truth": None if result.truth is None else str(result.truth),
    }
    if not details:
        return values
    told = {
        "measures": [_finite(one) for one in result.measures],
        "healthy": [_finite(one) for one in result.healthy],
        "reason": result.reason,
        "found": [one.found for one in result.detections],
        "named": [bool(one.named) for one in result.detections],
        "located": [one.located for one in result.detections],
        "delay": None if first is None else first.delay,
        "alarms": [] if first is None else [_alarm(finding) for finding in first.alarms],
        "withdrawn": [] if first is None else list(first.withdrawn),
        "baseline": {} if first is None else dict(first.baseline),
        "seconds": result.seconds,
    }
    return values | told


def _alarm(finding: Finding) -> dict[str, object]:
    facts = {"code": finding.code, "severity": str(finding.severity), "site": finding.site, "step": finding.step}
    return {**facts, "because_of": finding.because_of, "message": finding.message}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
