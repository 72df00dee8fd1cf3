"""The attribution of a run, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from edgeglass_diag.render.attribution import (
    INFORMATION_COLUMNS,
    error_words,
    information_cells,
    information_words,
    patch_words,
    strongest_words,
)


def attribution_tables(result: dict[str, Any]) -> Iterator[RenderableType]:
    """Yield the information test in words and as a table, then each pair with the units that carry it most."""
    test = result["information"]
    yield information_words(test)
    table = Table(*INFORMATION_COLUMNS, title=f"information test, {test['n']} pairs")
    for cells in information_cells(test):
        table.add_row(*cells)
    yield table
    yield _pairs(result)
    yield error_words(result)


def _pairs(result: dict[str, Any]) -> Table:
    table = Table("pair", "cosine", "patch with most", "words with most (of 5)", title="pairs")
    for number, entry in enumerate(result["pairs"]):
        words = escape(strongest_words(entry))
        table.add_row(str(number), f"{entry['similarity']:.3f}", patch_words(entry), words)
    return table
