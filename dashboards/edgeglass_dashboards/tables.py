"""Tables whose first column names the row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], name: str = "") -> Any:
    """A table whose first column names the row; on a narrow screen each row is set as a block."""
    head = html.Thead(html.Tr([html.Th(column, scope="col") for column in columns]))
    body = []
    for first, *cells in rows:
        named = zip(columns[1:], cells, strict=True)
        others = [html.Td(cell, **{"data-label": column}) for column, cell in named]
        body.append(html.Tr([html.Th(first, scope="row"), *others]))
    return html.Table([head, html.Tbody(body)], className=f"numbers blocks {name}".rstrip())
