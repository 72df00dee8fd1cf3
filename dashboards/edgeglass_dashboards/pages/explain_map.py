"""The map of the Explain page: its words, its cells as tables, and what each setting does."""

from __future__ import annotations

from typing import Any

from dash import html

from edgeglass_dashboards.compact_html import plain
from edgeglass_dashboards.tables import table
from edgeglass_diag.explained.map_words import effect_table, legend, line_table, panel_tables
from edgeglass_diag.explained.record import KeptExplanation


def map_words(explanation: KeptExplanation) -> Any:
    """Return what the map shows, None where there is none."""
    found = explanation.phase_map
    if found is None:
        return None
    words = "Each cell is the same training with other settings. Blue: it learns, the darker the lower its loss ends. "
    return html.P(words + legend(found), className="caption")


def map_tables(explanation: KeptExplanation) -> Any:
    """Return what each setting does, where, and the cells of the map in figures."""
    found = explanation.phase_map
    if found is None:
        return None
    _, columns, effects = effect_table(found)
    _, line_columns, lines = line_table(found)
    parts = [table(columns, effects, "effects-table")]
    if lines:
        summary = html.Summary(f"Where a setting makes a difference beyond seeds ({len(lines)})")
        shown = html.Details([summary, table(line_columns, lines, "lines-table")], **{"data-finding": "map lines"})
        parts.append(shown)
    cells = [
        part for title, names, rows in panel_tables(found) for part in (html.P(title), table(names, rows, "cells"))
    ]
    parts.append(html.Details([html.Summary("The cells as a table"), *cells], **{"data-finding": "map cells"}))
    return plain(parts)
