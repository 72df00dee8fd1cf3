"""An explanation as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from edgeglass_diag.explained.map_words import effect_table, legend, panel_tables
from edgeglass_diag.explained.phase_map import KeptMap
from edgeglass_diag.explanation.report import ExplainReport


def explanation_tables(report: ExplainReport) -> Iterator[RenderableType]:
    """Yield the verdict, what each change does alone, and what that says of the findings."""
    yield report.verdict
    if report.phase_map is not None:
        yield from _map_tables(report.phase_map)
    rows = [("cause", row) for row in report.causes] + [("not a cause", row) for row in report.not_causes]
    if not rows:
        return
    has_values = any(row.failing is not None or row.healthy is not None for _, row in rows)
    values = ("failing", "healthy") if has_values else ()
    kind = rows[0][1].kind if rows[0][1].kind == rows[-1][1].kind else "change"
    table = Table(kind, *values, "cured", "broken", "verdict", "where", title=f"{report.steps} steps each")
    for word, row in rows:
        partners = [name for name in row.together if name != row.setting]
        verdict = f"{word}, with {', '.join(partners)}" if partners else word
        shown = [row.failing, row.healthy] if has_values else []
        cells = [*shown, row.cured, row.broken, verdict, row.where if row.where != row.setting else None]
        table.add_row(row.setting, *("-" if cell is None else str(cell) for cell in cells))
    yield table
    for mark in report.marks:
        said = f": {mark.by}" if mark.by else ""
        yield f"{mark.code} {f'at {mark.site} ' if mark.site else ''}{mark.mark}{said}"


def _map_tables(found: KeptMap) -> Iterator[RenderableType]:
    """Yield the parts of a map, what its signs mean, and what each setting does."""
    for title, columns, rows in [*panel_tables(found), effect_table(found)]:
        table = Table(*map(escape, columns), title=escape(title) or None)
        for row in rows:
            table.add_row(*map(escape, row))
        yield table
    yield escape(legend(found))
