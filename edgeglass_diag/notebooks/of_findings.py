"""Findings as a document: each under its cause, with what was measured and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgeglass_diag.notebooks.document import Block, Document, Folded, Headline, Nested, Table, Text
from edgeglass_diag.records import Finding
from edgeglass_diag.render.findings import evidence_texts, mark_text, sites_text
from edgeglass_diag.verdict import Branch, nest

MOST = 60
"""Findings that are shown; of more, the first."""


def finding_document(finding: Finding) -> Document:
    """Return one finding."""
    return list(_finding(finding))


def findings_document(findings: Sequence[Finding]) -> Document:
    """Return findings, those that follow from another below it."""
    if not findings:
        return [Text("No findings")]
    shown = [block for branch in nest(findings[:MOST]) for block in _branch(branch)]
    more = len(findings) - MOST
    return [*shown, Text(f"and {more} more", quiet=True)] if more > 0 else shown


def _branch(branch: Branch) -> Iterator[Block]:
    yield from _finding(branch.finding)
    if branch.consequences:
        follows = [block for each in branch.consequences for block in _branch(each)]
        yield Nested([Text(f"because of {branch.finding.code}:", quiet=True), *follows])


def _finding(finding: Finding) -> Iterator[Block]:
    early = ", early" if finding.is_early else ""
    head = f"{finding.code} {finding.name} at step {finding.step}{early}"
    yield Headline(finding.severity.upper(), str(finding.severity), head)
    yield Nested(list(_about(finding)))


def _about(finding: Finding) -> Iterator[Block]:
    yield Text(finding.message)
    yield Text(sites_text(finding), label="where")
    if finding.fix:
        yield Text(finding.fix, label="fix")
    if said := mark_text(finding):
        yield Text(said, label="explained")
    if measured := evidence_texts(finding):
        yield Folded("measured", [Table(("what", "value"), measured)])
