"""The rule catalogue as a table."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.table import Table

from edgeglass_diag.catalogue import judged_text


def catalogue_table(entries: list[dict[str, Any]]) -> Table:
    """Return all rules in short; with what they were judged on where there was an exam."""
    examined = any(entry["judged"] for entry in entries)
    table = Table("code", "name", "severity", "what", *(["judged in the exam"] if examined else []))
    for entry in entries:
        known = [judged_text(entry["judged"]) if entry["judged"] else "-"] if examined else []
        table.add_row(entry["code"], entry["name"], entry["severity"], escape(entry["summary"]), *known)
    return table
