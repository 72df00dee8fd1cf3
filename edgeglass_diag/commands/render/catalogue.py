"""The rule catalogue as a table."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.table import Table


def catalogue_table(entries: list[dict[str, Any]]) -> Table:
    """Return all rules in short."""
    table = Table("code", "name", "severity", "what")
    for entry in entries:
        table.add_row(entry["code"], entry["name"], entry["severity"], escape(entry["summary"]))
    return table
