"""Long lists and tables as one component: Dash works at each of its components again with every change on a page."""

from __future__ import annotations

from typing import Any

from dash import html
from plotly.io.json import to_json_plotly


def plain(content: Any) -> Any:
    """Content without callbacks, which travels as data and is made into elements by the page's own script.

    Args:
        content: html components, lists of them and texts; a text becomes a text node whatever is in it.
    """
    return html.Div(**{"data-plain": to_json_plotly(content)})
