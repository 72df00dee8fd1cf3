"""An explanation as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.table import Table


def explanation_tables(result: dict[str, Any]) -> Iterator[RenderableType]:
    """The verdict, then what each setting does alone."""
    yield result["verdict"]
    rows = [("cause", row) for row in result["causes"]] + [("not a cause", row) for row in result["not_causes"]]
    if not rows:
        return
    table = Table("setting", "ill", "healthy", "cured", "made ill", "verdict", title=f"{result['steps']} steps each")
    for word, row in rows:
        partners = [name for name in row.get("together", []) if name != row["setting"]]
        verdict = f"{word}, with {', '.join(partners)}" if partners else word
        cells = (row["ill"], row["healthy"], row["cured"] or "-", row["made_ill"] or "-", verdict)
        table.add_row(row["setting"], *map(str, cells))
    yield table
