"""Counts over the results of one part of the exam."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from edgeglass_diag.records import Severity
from edgeglass_models.exam.results import Detection, Result
from edgeglass_models.exam.truth import Truth


@dataclass(frozen=True)
class Counts:
    """What ill cases came to.

    Attributes:
        ill: cases that are ill.
        found: of them those with an alarm that the twin does not have.
        named: whose fault is named.
        located: whose place is told, too.
        found_on_all: found with every seed that was judged.
        named_on_all: named with every seed that was judged.
        delay: median step of the first alarm of those that are found, None without any.
        baseline: found by the baseline's thresholds.
    """

    ill: int
    found: int
    named: int
    located: int
    found_on_all: int
    named_on_all: int
    delay: float | None
    baseline: int


@dataclass(frozen=True)
class FalseAlarms:
    """What was said where nothing is wrong.

    Attributes:
        runs: trainings of healthy programs, or harmless cases.
        critical: of them those with a critical.
        warning: those with a warning and no critical.
        withdrawn: those with a critical that was taken back later.
        baseline: those with an alarm of the baseline.
    """

    runs: int
    critical: int
    warning: int
    withdrawn: int
    baseline: int


@dataclass(frozen=True)
class Scores:
    """One part of the exam.

    Attributes:
        part: ``study``, ``exam`` or ``all``.
        programs: programs with a case in it.
        operators: operators with a case in it.
        cases: cases by what they are.
        ill: what ill cases came to.
        withdrawn: ill cases with a critical that was taken back later.
        healthy: false alarms on healthy programs.
        harmless: false alarms on harmless cases, beyond those of their twins.
        failures: rules that raised an exception, with their number.
    """

    part: str
    programs: int
    operators: int
    cases: dict[str, int]
    ill: Counts
    withdrawn: int
    healthy: FalseAlarms
    harmless: FalseAlarms
    failures: dict[str, int]

    def as_dict(self) -> dict[str, object]:
        """Return them as plain values."""
        return asdict(self)


def scores(results: Sequence[Result], part: str) -> Scores:
    """Return the counts of one part, or of ``all``."""
    chosen = [result for result in results if part in ("all", result.part)]
    cases = [result for result in chosen if result.operator]
    ill = [result for result in cases if result.truth is Truth.ILL]
    twins = [one for result in chosen if not result.operator for one in result.detections]
    harmless = [one for result in cases if result.truth is Truth.HARMLESS for one in result.detections[:1]]
    failures = Counter(code for result in chosen for one in result.detections for code in one.failures)
    return Scores(
        part,
        len({result.program for result in cases}),
        len({result.operator for result in cases}),
        dict(Counter(str(result.truth) for result in cases)),
        _counts(ill),
        sum(bool(result.first and result.first.withdrawn) for result in ill),
        _false(twins),
        _false(harmless),
        dict(failures),
    )


def _counts(ill: Sequence[Result]) -> Counts:
    firsts = [result.first for result in ill if result.first is not None]
    delays = [one.delay for one in firsts if one.delay is not None]
    return Counts(
        ill=len(ill),
        found=sum(one.found for one in firsts),
        named=sum(bool(one.named) for one in firsts),
        located=sum(one.located for one in firsts),
        found_on_all=sum(all(one.found for one in result.detections) for result in ill if result.detections),
        named_on_all=sum(all(bool(one.named) for one in result.detections) for result in ill if result.detections),
        delay=median(delays) if delays else None,
        baseline=sum(bool(one.baseline) for one in firsts),
    )


def _false(detections: Sequence[Detection]) -> FalseAlarms:
    worst = [max((alarm.severity.rank for alarm in one.alarms), default=0) for one in detections]
    return FalseAlarms(
        runs=len(detections),
        critical=sum(rank == Severity.CRITICAL.rank for rank in worst),
        warning=sum(rank == Severity.WARNING.rank for rank in worst),
        withdrawn=sum(bool(one.withdrawn) for one in detections),
        baseline=sum(bool(one.baseline) for one in detections),
    )
