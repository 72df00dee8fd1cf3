"""The conclusions of an audit with their arithmetic, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape

from edgeglass_diag.auditing.conclusion import Concluded
from edgeglass_diag.auditing.report import AuditReport
from edgeglass_diag.commands.render.findings import finding_line


def audit_text(report: AuditReport) -> Iterator[str]:
    """Yield the conclusions of each history with their arithmetic, in console markup."""
    for one in report.histories:
        count = len(one.concluded)
        yield escape(f"{one.name} ({one.file}): {len(one.columns)} columns understood, {count or 'no'} conclusions")
        told = {key: value for key, value in one.inferred.items() if isinstance(value, (int, float))}
        if told:
            yield escape("  inferred: " + ", ".join(f"{key} = {value}" for key, value in told.items()))
        for concluded in one.concluded:
            yield from _conclusion(concluded)
        for label, reason in one.open_columns.items():
            yield escape(f"  not judged: column {label} is {reason}")
        yield from (escape(f"  note: {note}") for note in one.notes)


def _conclusion(concluded: Concluded) -> Iterator[str]:
    work = concluded.work
    yield "  " + finding_line(concluded.finding)
    for line in work.arithmetic:
        yield escape(f"             {line}")
    if work.hypotheses is not None:
        yield escape(
            f"             {work.hypotheses} hypotheses tried, at most {work.coincidence:.1e} expected to fit by "
            "coincidence"
        )
    yield escape(f"           fix: {concluded.finding.fix}")
