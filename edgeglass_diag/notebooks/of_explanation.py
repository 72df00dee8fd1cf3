"""An explanation as a document: what the replays show, each change that was tried, and what becomes of the findings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeglass_diag.explained.map_words import effect_table, legend, line_table, panel_tables
from edgeglass_diag.explained.phase_map import KeptMap
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
    said = "MAP" if kept.phase_map is not None else "CAUSE FOUND" if found else "NO CAUSE"
    blocks: list[Block] = [Headline(said, "good" if found else "neutral", kept.verdict)]
    if kept.phase_map is not None:
        blocks += _map(kept.phase_map)
    for title, tried in (("causes", kept.causes), ("tried, and no causes", kept.not_causes)):
        blocks += _table(title, TRIED_COLUMNS, [tried_cells(each) for each in tried])
    blocks += _table("what that says of the findings", MARK_COLUMNS, [mark_cells(each) for each in kept.findings])
    blocks += [Text(said, quiet=True) for said in notes(kept)]
    rows = [trial_cells(trial, kept) for trial in kept.trials]
    return [*blocks, Folded(f"{len(rows)} replays", _table("", TRIAL_COLUMNS, rows))] if rows else blocks


def _map(found: KeptMap) -> list[Block]:
    drawn = [*panel_tables(found), effect_table(found), line_table(found)]
    return [*(block for title, columns, rows in drawn for block in _table(title, columns, rows)), Text(legend(found))]


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Block]:
    return [Table(columns, rows, title)] if rows else []
