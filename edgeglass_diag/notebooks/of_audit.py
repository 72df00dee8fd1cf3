"""An audit as a document: what the numbers of each history say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgeglass_diag.notebooks.document import Block, Document, Headline, Nested, Table, Text
from edgeglass_diag.notebooks.of_findings import findings_document
from edgeglass_diag.verdict import say

if TYPE_CHECKING:
    from edgeglass_diag.auditing.audit import Audited
    from edgeglass_diag.auditing.report import AuditReport


def audit_document(report: AuditReport) -> Document:
    """Return the conclusions of each history with their arithmetic."""
    return [block for one in report.histories for block in _history(one)]


def _history(one: Audited) -> Iterator[Block]:
    found = one.conclusions
    worst = max(found, key=lambda finding: finding.severity.rank, default=None)
    tone = "neutral" if worst is None else str(worst.severity)
    understood = f"{len(one.columns)} columns understood, {len(found) or 'no'} conclusions"
    yield Headline("NOTHING FOUND" if worst is None else tone.upper(), tone, f"{one.name}: {understood}")
    yield Text(one.file, label="file", quiet=True)
    if told := [(str(key), say(value)) for key, value in one.inferred.items()]:
        yield Table(("inferred", "value"), told)
    if found:
        yield Nested(findings_document(found))
    for label, reason in one.open_columns.items():
        yield Text(f"column {label} is {reason}", label="not judged", quiet=True)
    yield from (Text(note, label="note", quiet=True) for note in one.notes)
