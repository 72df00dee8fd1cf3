"""An explanation as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table

from edgeglass_diag.explanation.report import ExplainReport


def explanation_tables(report: ExplainReport) -> Iterator[RenderableType]:
    """Yield the verdict, then what each setting does alone."""
    yield report.verdict
    rows = [("cause", row) for row in report.causes] + [("not a cause", row) for row in report.not_causes]
    if not rows:
        return
    table = Table("setting", "failing", "healthy", "cured", "broken", "verdict", title=f"{report.steps} steps each")
    for word, row in rows:
        partners = [name for name in row.together if name != row.setting]
        verdict = f"{word}, with {', '.join(partners)}" if partners else word
        cells = (row.failing, row.healthy, row.cured or "-", row.broken or "-", verdict)
        table.add_row(row.setting, *map(str, cells))
    yield table
