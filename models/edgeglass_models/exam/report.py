"""The exam's result in words and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from edgeglass_diag.records import Finding
from edgeglass_models.exam.results import Result
from edgeglass_models.exam.scores import Counts, FalseAlarms, Scores
from edgeglass_models.exam.truth import Truth


def report(results: Sequence[Result], parts: Sequence[Scores], *, reveal: bool) -> Iterator[RenderableType]:
    """Yield tables and lines: the numbers of each part, and case by case what may be looked at.

    Args:
        results: all of them.
        parts: the scores of the parts to be shown.
        reveal: tell the cases of the exam part as well.
    """
    yield _numbers(parts)
    open_ = [result for result in results if reveal or result.part == "study"]
    yield from _listed("ill and not found", [_case(one) for one in open_ if _is_missed(one)])
    yield from _listed("found and not named", [_case(one) for one in open_ if _is_not_named(one)])
    yield from _listed("named and not located", [_case(one) for one in open_ if _is_not_located(one)])
    yield from _listed("false alarms on healthy programs", [_case(one) for one in open_ if _alarms_on_healthy(one)])
    yield from _listed("false alarms on harmless cases", [_case(one) for one in open_ if _alarms_on_harmless(one)])
    crashed = [f"{one.name}: {one.reason}" for one in open_ if one.truth is Truth.CRASHED]
    yield from _listed("crashed", crashed)


def _numbers(parts: Sequence[Scores]) -> Table:
    table = Table("", *(part.part for part in parts))
    table.add_row("programs x operators", *(f"{one.programs} x {one.operators}" for one in parts))
    table.add_row("cases", *(str(sum(one.cases.values())) for one in parts))
    for truth in Truth:
        table.add_row(f"  {truth}", *(str(one.cases.get(str(truth), 0)) for one in parts))
    for name in ("found", "named", "located", "found_on_all", "named_on_all", "baseline"):
        words = {"baseline": "found by the baseline"}.get(name, name.replace("_on_all", " with every seed"))
        table.add_row(f"ill: {words}", *(_share(getattr(one.ill, name), one.ill) for one in parts))
    table.add_row("ill: median step of the first alarm", *(_number(one.ill.delay) for one in parts))
    table.add_row("ill: a critical that was withdrawn", *(str(one.withdrawn) for one in parts))
    for what in ("healthy", "harmless"):
        table.add_row(f"{what}: critical, warning, withdrawn, baseline", *(_false(getattr(one, what)) for one in parts))
    table.add_row("rules that failed", *(_failures(one) for one in parts))
    return table


def _share(count: int, counts: Counts) -> str:
    return f"{count} of {counts.ill} ({count / counts.ill:.0%})" if counts.ill else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _false(one: FalseAlarms) -> str:
    return f"{one.critical}, {one.warning}, {one.withdrawn}, {one.baseline} of {one.runs}"


def _failures(one: Scores) -> str:
    return " ".join(f"{code} ({count})" for code, count in sorted(one.failures.items())) or "none"


def _listed(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"\n[bold]{title}[/bold] ({len(lines)})"
        yield from (escape(line) for line in lines)


def _case(result: Result) -> str:
    """Return a case in one line: what it measured, and the worst that was said of it."""
    own, healthy = (" ".join(f"{one:.2f}" for one in some[:3]) for some in (result.measures, result.healthy))
    measured = f"{own} for {healthy}" if result.operator else healthy
    said = [_said(finding) for one in result.detections for finding in one.alarms] if not result.operator else []
    first = result.first
    if first is not None and result.operator:
        said = [_said(finding) for finding in first.alarms]
        if first.baseline:
            said.append(f"baseline: {', '.join(first.baseline)}")
    return f"{result.name} ({measured}): {'; '.join(dict.fromkeys(said)) or 'nothing'}"


def _said(finding: Finding) -> str:
    because = f" because of {finding.because_of}" if finding.because_of else ""
    site = f" at {finding.site}" if finding.site else ""
    return f"{finding.severity} {finding.code} {finding.name}{site}, step {finding.step}{because}"


def _is_missed(result: Result) -> bool:
    return result.truth is Truth.ILL and result.first is not None and not result.first.found


def _is_not_named(result: Result) -> bool:
    first = result.first
    return result.truth is Truth.ILL and first is not None and first.found and not first.named


def _is_not_located(result: Result) -> bool:
    first = result.first
    return result.truth is Truth.ILL and first is not None and bool(first.named) and not first.located


def _alarms_on_healthy(result: Result) -> bool:
    return not result.operator and any(one.found for one in result.detections)


def _alarms_on_harmless(result: Result) -> bool:
    return result.truth is Truth.HARMLESS and result.first is not None and result.first.found
