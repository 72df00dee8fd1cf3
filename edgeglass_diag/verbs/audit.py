"""``audit``: conclusions and implications as plain values and as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.markup import escape

from edgeglass_diag.auditing.audit import Audited
from edgeglass_diag.verbs.live import finding_line
from edgeglass_diag.verbs.summary import finding_summary, plain


def audit_summary(audited: Sequence[Audited]) -> dict[str, Any]:
    """What ``audit --json`` says: ``conclusions`` of all histories, and what is ``inferred``.

    ``inferred`` holds the values on which all histories that tell one agree; ``histories`` has those of each
    history, with the columns that were understood, those that stay open with the reason, and notes of the readers.
    """
    agreed: dict[str, Any] = {}
    for key in dict.fromkeys(key for one in audited for key in one.inferred):
        values = [one.inferred[key] for one in audited if key in one.inferred]
        if all(value == values[0] for value in values):
            agreed[key] = values[0]
    histories = {
        one.name: {
            "file": one.file, "inferred": dict(one.inferred), "columns": dict(one.columns),
            "open_columns": dict(one.open_columns), "notes": list(one.notes),
        }
        for one in audited
    }  # fmt: skip
    conclusions = [finding_summary(finding) for one in audited for finding in one.conclusions]
    return plain({"conclusions": conclusions, "inferred": agreed, "histories": histories})  # type: ignore[no-any-return]


def audit_text(audited: Sequence[Audited]) -> Iterator[str]:
    """The conclusions of each history with their arithmetic, in console markup."""
    for one in audited:
        count = len(one.conclusions)
        yield escape(f"{one.name} ({one.file}): {len(one.columns)} columns understood, {count or 'no'} conclusions")
        told = {key: value for key, value in one.inferred.items() if isinstance(value, (int, float))}
        if told:
            yield escape("  inferred: " + ", ".join(f"{key} = {value}" for key, value in told.items()))
        for finding in one.conclusions:
            yield "  " + finding_line(finding)
            for line in _arithmetic(finding.evidence.get("arithmetic")):
                yield escape(f"             {line}")
            if "hypotheses" in finding.evidence:
                yield escape(
                    f"             {finding.evidence['hypotheses']} hypotheses tried, at most "
                    f"{finding.evidence['coincidence']:.1e} expected to fit by coincidence"
                )
            yield escape(f"           fix: {finding.fix}")
        for label, reason in one.open_columns.items():
            yield escape(f"  not judged: column {label} is {reason}")
        yield from (escape(f"  note: {note}") for note in one.notes)


def _arithmetic(value: object) -> list[str]:
    return [] if value is None else [str(item) for item in value] if isinstance(value, list) else [str(value)]
