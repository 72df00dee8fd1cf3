"""An explanation as a document: what the replays show, each change that was tried, and what becomes of the findings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeglass_diag.explained.record import KeptExplanation
from edgeglass_diag.notebooks.document import Block, Document, Folded, Headline, Table, Text
from edgeglass_diag.render.explanation import (
    MARK_COLUMNS,
    TRIAL_COLUMNS,
    TRIED_COLUMNS,
    mark_cells,
    notes,
    trial_cells,
    tried_cells,
)

if TYPE_CHECKING:
    from edgeglass_diag.explanation.report import ExplainReport


def explanation_document(report: ExplainReport) -> Document:
    """Return an explanation, its causes first."""
    kept = KeptExplanation.model_validate(report.as_dict())
    found = bool(kept.causes)
    blocks: list[Block] = [
        Headline("CAUSE FOUND" if found else "NO CAUSE", "good" if found else "neutral", kept.verdict)
    ]
    for title, tried in (("causes", kept.causes), ("tried, and no causes", kept.not_causes)):
        blocks += _table(title, TRIED_COLUMNS, [tried_cells(each) for each in tried])
    blocks += _table("what that says of the findings", MARK_COLUMNS, [mark_cells(each) for each in kept.findings])
    blocks += [Text(said, quiet=True) for said in notes(kept)]
    rows = [trial_cells(trial, kept) for trial in kept.trials]
    return [*blocks, Folded(f"{len(rows)} replays", _table("", TRIAL_COLUMNS, rows))] if rows else blocks


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Block]:
    return [Table(columns, rows, title)] if rows else []
